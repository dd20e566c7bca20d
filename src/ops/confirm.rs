//! What destroys waits until it is confirmed: by a word that is good once, for a while, and for whom it was made. It
//! is for the doors at which nobody can be asked at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a confirmation is waited for.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How many may be waited for at once.
const MOST: usize = 16;

/// A call that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The operation.
    pub operation: &'static str,
    /// Its arguments.
    pub arguments: Value,
    since: Instant,
}

/// The calls that wait, by the word that confirms them.
#[derive(Debug, Default)]
pub struct Confirmations(HashMap<String, Waiting>);

impl Confirmations {
    /// Has a call wait; gives the word. None, where no random bits are to be had.
    pub fn ask(&mut self, operation: &'static str, arguments: Value) -> Option<String> {
        self.0.retain(|_, waiting| waiting.since.elapsed() < PATIENCE);
        if self.0.len() >= MOST {
            let oldest =
                self.0.iter().min_by_key(|(_, waiting)| waiting.since).map(|(word, _)| word.clone())?;
            self.0.remove(&oldest);
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).ok()?;
        let word = crate::hex::hex(&random);
        self.0.insert(word.clone(), Waiting { operation, arguments, since: Instant::now() });
        Some(word)
    }

    /// Takes the call of a word, if it still waits.
    pub fn take(&mut self, word: &str) -> Option<Waiting> {
        self.0.remove(word).filter(|waiting| waiting.since.elapsed() < PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_word_confirms_once_and_what_was_asked_for_alone() {
        let mut all = Confirmations::default();
        let one = all.ask("container.delete", json!({ "name": "a" })).unwrap();
        let two = all.ask("container.delete", json!({ "name": "b" })).unwrap();
        assert_eq!(all.take(&two).unwrap().arguments, json!({ "name": "b" }));
        assert!(all.take(&two).is_none() && all.take("").is_none() && all.take("yes").is_none());
        assert_eq!(all.take(&one).unwrap().arguments, json!({ "name": "a" }));
    }

    #[test]
    fn what_nobody_confirms_does_not_pile_up() {
        let mut all = Confirmations::default();
        let first = all.ask("x", Value::Null).unwrap();
        for _ in 0..MOST {
            all.ask("x", Value::Null).unwrap();
        }
        assert_eq!(all.0.len(), MOST);
        assert!(all.take(&first).is_none());
    }
}
