//! Which operations come nearest to a sentence that was not understood.

use std::collections::{BTreeMap, BTreeSet};

/// The words by which an operation is found, and in how many operations each word is.
#[derive(Debug, Clone, Default)]
pub(super) struct Vocabulary {
    of: Vec<BTreeSet<String>>,
    common: BTreeMap<String, u32>,
}

/// What a word is worth that is in one operation alone; in two it is worth half, and so on.
const RARE: u32 = 240;

impl Vocabulary {
    /// The words of each operation, in the order of the registry.
    pub(super) fn new(of: Vec<BTreeSet<String>>) -> Self {
        let mut common = BTreeMap::new();
        for word in of.iter().flatten() {
            *common.entry(word.clone()).or_insert(0) += 1;
        }
        Self { of, common }
    }

    /// The operations that share words with the sentence, the nearest first. `reach` says of each how many words of the
    /// sentence its patterns took.
    pub(super) fn nearest(&self, sentence: &[String], reach: &[usize], most: usize) -> Vec<usize> {
        let said: Vec<Vec<(&str, u32)>> = sentence.iter().map(|word| self.meant(word)).collect();
        let mut all: Vec<(u32, usize)> = self
            .of
            .iter()
            .enumerate()
            .map(|(index, words)| {
                let worth = |meant: &Vec<(&str, u32)>| {
                    meant.iter().filter(|(word, _)| words.contains(*word)).map(|(_, worth)| *worth).max()
                };
                let shared: u32 = said.iter().filter_map(worth).sum();
                let taken = u32::try_from(reach.get(index).copied().unwrap_or(0)).unwrap_or(u32::MAX).min(32);
                (shared + taken * RARE / 4, index)
            })
            .filter(|(score, _)| *score > 0)
            .collect();
        all.sort_by_key(|(score, index)| (std::cmp::Reverse(*score), *index));
        all.into_iter().take(most).map(|(_, index)| index).collect()
    }

    /// The known words that a word can be, and what each is worth: itself, else those that are one slip away.
    fn meant(&self, word: &str) -> Vec<(&str, u32)> {
        let worth = |count: &u32| RARE / (*count).max(1);
        if let Some((known, count)) = self.common.get_key_value(word) {
            return vec![(known, worth(count))];
        }
        let slips = self.common.iter().filter(|(known, _)| one_slip(word, known));
        slips.map(|(known, count)| (known.as_str(), worth(count) / 2)).collect()
    }
}

/// Whether two words of plain letters differ by one that is missing, wrong, or exchanged with its neighbour.
fn one_slip(a: &str, b: &str) -> bool {
    const LETTERS: std::ops::RangeInclusive<usize> = 4..=24;
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if !LETTERS.contains(&a.len()) || !LETTERS.contains(&b.len()) || a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same..], &b[same..]);
    match (a, b) {
        ([first, second, a @ ..], [one, other, b @ ..]) if first == other && second == one => a == b,
        ([_, rest @ ..], [_, other @ ..]) if rest == other => true,
        ([_, rest @ ..], other) if rest == other => true,
        (rest, [_, other @ ..]) => rest == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_forgiven_in_a_suggestion() {
        for (a, b) in [
            ("delet", "delete"),
            ("deelte", "delete"),
            ("contaner", "container"),
            ("stopp", "stop"),
            ("shwo", "show"),
        ] {
            assert!(one_slip(a, b), "{a} {b}");
        }
        for (a, b) in [("stop", "start"), ("a", "an"), ("undelete", "delete"), ("delete", "delete web")] {
            assert!(!one_slip(a, b), "{a} {b}");
        }
    }

    #[test]
    fn rare_words_say_more_than_common_ones() {
        let of = [vec!["show", "container"], vec!["show", "ledger"], vec!["delete", "container"]];
        let words = Vocabulary::new(of.map(|words| words.into_iter().map(str::to_owned).collect()).to_vec());
        let said = ["show".to_owned(), "legder".to_owned()];
        assert_eq!(words.nearest(&said, &[0, 0, 0], 3), [1, 0]);
        assert_eq!(words.nearest(&["nonsense".to_owned()], &[0, 0, 0], 3), [0; 0]);
        assert_eq!(words.nearest(&["nonsense".to_owned()], &[0, 0, 1], 3), [2]);
    }
}
