//! What is kept of a user, whichever session or program of theirs asks: clients of HTTP may have no session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::Semaphore;

use crate::ops::confirm::Confirmations;

/// How many calls of one user are under way at once; the others wait. The bus allows a connection 128 in all.
const CALLS: usize = 12;

/// Which confirmations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Words that a model passes on, once its user has agreed.
    Word,
    /// What a client keeps while it asks its user. It is no word: no model sees it, and none could pass it on.
    Client,
}

/// Why a word does not confirm a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It was never given, was used, or is too old.
    #[error("that confirmation was not given to this user, was used, or came too late")]
    Unknown,
    /// It was for something else, and is used up now.
    #[error(
        "that confirmation was for another call: what is confirmed is called with exactly the same arguments"
    )]
    Other,
}

/// A user.
#[derive(Debug)]
pub struct User {
    words: Mutex<Confirmations>,
    asked: Mutex<Confirmations>,
    /// The calls that may be under way.
    pub calls: Semaphore,
}

impl Default for User {
    fn default() -> Self {
        Self { words: Mutex::default(), asked: Mutex::default(), calls: Semaphore::new(CALLS) }
    }
}

impl User {
    fn kept(&self, by: By) -> &Mutex<Confirmations> {
        match by {
            By::Word => &self.words,
            By::Client => &self.asked,
        }
    }

    /// Has a call wait for a word; none where there are no random bits.
    pub fn ask(&self, by: By, operation: &'static str, arguments: &Value) -> Option<String> {
        self.kept(by).lock().unwrap_or_else(PoisonError::into_inner).ask(operation, arguments.clone())
    }

    /// Whether a word confirms this call. It is used up either way.
    pub fn confirm(&self, by: By, word: &str, operation: &str, arguments: &Value) -> Result<(), Unfit> {
        let waiting = self.kept(by).lock().unwrap_or_else(PoisonError::into_inner).take(word);
        let waiting = waiting.ok_or(Unfit::Unknown)?;
        if waiting.operation == operation && waiting.arguments == *arguments {
            Ok(())
        } else {
            Err(Unfit::Other)
        }
    }
}

/// The users, by their numbers: as many as have tokens on this host.
#[derive(Debug, Default)]
pub struct Users(Mutex<HashMap<u32, Arc<User>>>);

impl Users {
    /// A user.
    pub fn get(&self, uid: u32) -> Arc<User> {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(uid).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DELETE: &str = "container.delete";

    #[test]
    fn a_word_is_good_once_for_its_user_and_its_call() {
        let users = Users::default();
        let (alice, bob) = (users.get(1000), users.get(1001));
        let (a, b) = (json!({ "name": "a" }), json!({ "name": "b" }));
        let word = alice.ask(By::Word, DELETE, &a).unwrap();
        assert_eq!(bob.confirm(By::Word, &word, DELETE, &a), Err(Unfit::Unknown));
        assert_eq!(alice.confirm(By::Client, &word, DELETE, &a), Err(Unfit::Unknown));
        assert_eq!(users.get(1000).confirm(By::Word, &word, DELETE, &a), Ok(()), "in whichever session");
        assert_eq!(alice.confirm(By::Word, &word, DELETE, &a), Err(Unfit::Unknown), "a second time");
        for (operation, arguments) in [(DELETE, &b), ("template.remove", &a)] {
            let word = alice.ask(By::Word, DELETE, &a).unwrap();
            assert_eq!(alice.confirm(By::Word, &word, operation, arguments), Err(Unfit::Other));
            assert_eq!(alice.confirm(By::Word, &word, DELETE, &a), Err(Unfit::Unknown), "it is used up");
        }
        let kept = alice.ask(By::Client, DELETE, &a).unwrap();
        assert_eq!(alice.confirm(By::Word, &kept, DELETE, &a), Err(Unfit::Unknown), "no model says it");
        assert_eq!(alice.confirm(By::Client, &kept, DELETE, &a), Ok(()));
    }
}
