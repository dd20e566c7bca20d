//! Checkpoints: what a ledger held when it had so many entries, signed, in the form of C2SP tlog-checkpoint. Kept
//! where root of this host cannot change them, they tell a ledger that was cut short or rewritten from one that was not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::note::{self, NoteError, NoteSigner, Verifier};
use super::tree::Hash;

/// A ledger as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose ledger: the name of the key, which has the ledger's own number in it.
    pub origin: String,
    /// How many entries it had, the genesis entry among them.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

/// The origin of the checkpoints of a ledger with this number.
#[must_use]
pub fn origin(ledger_id: &str) -> String {
    format!("operation-dbus/ledger/{ledger_id}")
}

impl Checkpoint {
    /// The text that is signed: origin, size, root.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// The signed note.
    #[must_use]
    pub fn sign(&self, by: &NoteSigner) -> String {
        by.sign(&self.text())
    }

    /// Reads a checkpoint that the key signed.
    pub fn open(note: &str, by: &Verifier) -> Result<Self, NoteError> {
        let wrong =
            NoteError::Note("it is not a checkpoint: origin, size and root are not in its first lines");
        let mut lines = note::open(note, by)?.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(wrong);
        };
        let plain = size == "0" || (!size.starts_with('0') && size.bytes().all(|b| b.is_ascii_digit()));
        let root = STANDARD.decode(root).ok().and_then(|bytes| bytes.try_into().ok());
        match (size.parse(), root) {
            (Ok(size), Some(root)) if plain && origin == by.name() => {
                Ok(Self { origin: origin.to_owned(), size, root })
            }
            _ => Err(wrong),
        }
    }
}

/// The notes of a file that holds several, one after the other: each ends with its signatures, before the next line
/// that is none.
#[must_use]
pub fn split(text: &str) -> Vec<&str> {
    let mut notes = Vec::new();
    let (mut start, mut at, mut in_signatures) = (0, 0, false);
    for line in text.split_inclusive('\n') {
        let signature = line.starts_with('\u{2014}');
        if in_signatures && !signature {
            notes.push(&text[start..at]);
            // A blank line between two notes is neither's.
            start = if line == "\n" { at + line.len() } else { at };
        }
        in_signatures = signature;
        at += line.len();
    }
    if !text[start..].trim().is_empty() {
        notes.push(&text[start..]);
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> NoteSigner {
        NoteSigner::new(&origin("00ff"), [1; 32]).unwrap()
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_signed_and_by_its_own_key_alone() {
        let checkpoint = Checkpoint { origin: origin("00ff"), size: 12, root: [5; 32] };
        let note = checkpoint.sign(&signer());
        assert!(note.starts_with("operation-dbus/ledger/00ff\n12\nBQUF"), "{note}");
        assert_eq!(Checkpoint::open(&note, &signer().verifier()).unwrap(), checkpoint);
        let of_another = NoteSigner::new(&origin("1"), [1; 32]).unwrap();
        assert!(Checkpoint::open(&note, &of_another.verifier()).is_err());
        assert!(Checkpoint::open(&note.replacen("12", "13", 1), &signer().verifier()).is_err());
    }

    #[test]
    fn only_what_is_a_checkpoint_is_one() {
        for text in
            ["x\n1\nAAAA\n", "operation-dbus/ledger/00ff\n01\nBQUF\n", "operation-dbus/ledger/00ff\n", "\n"]
        {
            assert!(Checkpoint::open(&signer().sign(text), &signer().verifier()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_file_of_checkpoints_is_taken_apart() {
        let note = |size| Checkpoint { origin: origin("00ff"), size, root: [5; 32] }.sign(&signer());
        let cosigned = note(2) + "\u{2014} witness AAAAAAAA\n";
        let file = note(1) + &cosigned + "\n" + &note(3);
        assert_eq!(split(&file), [note(1), cosigned, note(3)]);
        assert!(split("").is_empty());
        assert_eq!(split("nonsense"), ["nonsense"]);
    }
}
