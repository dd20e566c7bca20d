//! Signed notes (C2SP signed-note v1): the text, a blank line, and lines of signatures, as transparency logs and
//! their witnesses write them. Keys are in the text form of Go's `sumdb/note`, which the tools around such logs read.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::hex::hex;

/// The largest note, in bytes: a checkpoint has a few hundred, and each cosignature about a hundred more.
const LARGEST: usize = 64 << 10;
/// The most signatures that are looked at.
const MOST_SIGNATURES: usize = 100;
/// The byte that says that a key is Ed25519's.
const ED25519: u8 = 1;
/// What a line of a signature begins with.
const DASH: &str = "\u{2014} ";

/// Why a text is no note, no key, or not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is not a signed note.
    #[error("it is not a signed note: {0}")]
    Note(&'static str),
    /// It is not a key.
    #[error("it is not a key: {0}")]
    Key(&'static str),
    /// No signature on it is by the key.
    #[error("it is not signed by {0}")]
    Unsigned(String),
    /// A signature that says it is by the key is not.
    #[error("the signature of {0} on it is false")]
    False(String),
}

fn name_is_sound(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// The number by which a signature names its key: not secret, not unique, only a hint.
fn key_id(name: &str, public: &[u8]) -> [u8; 4] {
    let hash =
        Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(public).finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// A key that verifies: `NAME+ID+KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    key: VerifyingKey,
}

/// A key that signs: `PRIVATE+KEY+NAME+ID+KEY`. Printed only on purpose.
pub struct NoteSigner {
    name: String,
    key: SigningKey,
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoteSigner").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = hex(&key_id(&self.name, self.key.as_bytes()));
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{id}+{}", self.name, STANDARD.encode(bytes))
    }
}

/// The 32 bytes of a key, of which `id` must be that of the public part.
fn key_bytes(text: &str) -> Result<[u8; 32], NoteError> {
    let bytes = STANDARD.decode(text).map_err(|_| NoteError::Key("its last part is not base64"))?;
    match bytes.split_first() {
        Some((&ED25519, key)) => key.try_into().map_err(|_| NoteError::Key("it is not 32 bytes long")),
        _ => Err(NoteError::Key("it is not for Ed25519")),
    }
}

impl FromStr for Verifier {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key("it is not NAME+ID+KEY"));
        };
        if !name_is_sound(name) {
            return Err(NoteError::Key("its name has a space or a plus, or is empty"));
        }
        let key = VerifyingKey::from_bytes(&key_bytes(key)?)
            .map_err(|_| NoteError::Key("it is no point of the curve"))?;
        if hex(&key_id(name, key.as_bytes())) != id {
            return Err(NoteError::Key("its number is not that of its name and key: it was damaged"));
        }
        Ok(Self { name: name.to_owned(), key })
    }
}

impl Verifier {
    /// The name of the key, which is the origin of the checkpoints it signs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl NoteSigner {
    /// A key of this name from 32 random bytes; `None` where the name cannot be one.
    #[must_use]
    pub fn new(name: &str, seed: [u8; 32]) -> Option<Self> {
        name_is_sound(name).then(|| Self { name: name.to_owned(), key: SigningKey::from_bytes(&seed) })
    }

    /// Reads a key.
    pub fn read(text: &str) -> Result<Self, NoteError> {
        let rest =
            text.trim().strip_prefix("PRIVATE+KEY+").ok_or(NoteError::Key("it is not a private key"))?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key("it is not PRIVATE+KEY+NAME+ID+KEY"));
        };
        let signer = Self::new(name, key_bytes(key)?).ok_or(NoteError::Key("its name cannot be one"))?;
        if hex(&key_id(name, signer.key.verifying_key().as_bytes())) != id {
            return Err(NoteError::Key("its number is not that of its name and key: it was damaged"));
        }
        Ok(signer)
    }

    /// The key as it is kept, secret.
    #[must_use]
    pub fn secret(&self) -> String {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        let id = hex(&key_id(&self.name, self.key.verifying_key().as_bytes()));
        format!("PRIVATE+KEY+{}+{id}+{}", self.name, STANDARD.encode(bytes))
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// Signs a text, which ends with a line's end.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let mut bytes = key_id(&self.name, self.key.verifying_key().as_bytes()).to_vec();
        bytes.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n{DASH}{} {}\n", self.name, STANDARD.encode(bytes))
    }
}

/// The text of a note that the key signed. Signatures by others are passed over, as cosignatures are.
pub fn open<'n>(note: &'n str, by: &Verifier) -> Result<&'n str, NoteError> {
    if note.len() > LARGEST {
        return Err(NoteError::Note("it is larger than 64 KiB"));
    }
    if note.contains(|c: char| c.is_control() && c != '\n') {
        return Err(NoteError::Note("it has a control character"));
    }
    let at = note.rfind("\n\n").ok_or(NoteError::Note("it has no blank line before its signatures"))?;
    let (text, signatures) = (&note[..=at], &note[at + 2..]);
    if !signatures.ends_with('\n') {
        return Err(NoteError::Note("it does not end with a line's end"));
    }
    let id = key_id(&by.name, by.key.as_bytes());
    let mut signed = false;
    for (count, line) in signatures.lines().enumerate() {
        let line =
            line.strip_prefix(DASH).ok_or(NoteError::Note("a line after the blank one is no signature"))?;
        let (name, signature) = line.split_once(' ').ok_or(NoteError::Note("a signature has no name"))?;
        let bytes = STANDARD.decode(signature).map_err(|_| NoteError::Note("a signature is not base64"))?;
        if !name_is_sound(name) || bytes.len() < 5 || count >= MOST_SIGNATURES {
            return Err(NoteError::Note("a signature is malformed, or there are too many"));
        }
        if name != by.name || bytes[..4] != id {
            continue;
        }
        let signature = Signature::from_slice(&bytes[4..]).map_err(|_| NoteError::False(by.name.clone()))?;
        // Strictly: no signature that another implementation would refuse.
        by.key.verify_strict(text.as_bytes(), &signature).map_err(|_| NoteError::False(by.name.clone()))?;
        signed = true;
    }
    if signed { Ok(text) } else { Err(NoteError::Unsigned(by.name.clone())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // From the documentation of golang.org/x/mod/sumdb/note: key, text and signature of another implementation.
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_note_of_another_implementation_is_read_and_nothing_of_it_may_change() {
        let peter: Verifier = PETER.parse().unwrap();
        assert_eq!(peter.to_string(), PETER);
        assert!(open(NOTE, &peter).unwrap().ends_with("what your problem is.\n"));
        for (old, new) in [("answer", "Answer"), ("x08go/ZJ", "x08go/ZK"), ("\n\n\u{2014}", "\n\n\n\u{2014}")]
        {
            assert_ne!(NOTE.replace(old, new), NOTE);
            open(&NOTE.replace(old, new), &peter).unwrap_err();
        }
    }

    #[test]
    fn what_is_signed_is_opened_by_its_key_alone_with_others_signatures_beside() {
        let signer = NoteSigner::new("example.org/log", [7; 32]).unwrap();
        let other = NoteSigner::new("example.org/log", [8; 32]).unwrap();
        assert_eq!(NoteSigner::read(&signer.secret()).unwrap().secret(), signer.secret());
        let note = signer.sign("text\n");
        assert_eq!(open(&note, &signer.verifier()).unwrap(), "text\n");
        assert!(matches!(open(&note, &other.verifier()), Err(NoteError::Unsigned(_))));
        let witness = NoteSigner::new("witness", [9; 32]).unwrap().sign("text\n");
        let cosigned = note.clone() + witness.lines().last().unwrap() + "\n";
        assert_eq!(open(&cosigned, &signer.verifier()).unwrap(), "text\n");
        assert!(format!("{signer:?}").len() < 60, "a key is not shown by accident");
    }

    #[test]
    fn a_damaged_key_is_refused() {
        let key = NoteSigner::new("n", [7; 32]).unwrap();
        let (public, secret) = (key.verifier().to_string(), key.secret());
        for damaged in
            [public.replace("n+", "m+"), public[..public.len() - 4].to_owned(), "n+0".into(), String::new()]
        {
            damaged.parse::<Verifier>().unwrap_err();
        }
        assert!(
            NoteSigner::read(&public).is_err() && NoteSigner::read(&secret.replace("+n+", "+m+")).is_err()
        );
        assert!(NoteSigner::new("a b", [0; 32]).is_none() && NoteSigner::new("a+b", [0; 32]).is_none());
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_refused_or_opened(note in "(?s).{0,200}") {
            let _ = open(&note, &PETER.parse().unwrap());
            let _ = note.parse::<Verifier>();
            let _ = NoteSigner::read(&note);
        }
    }
}
