//! A runner for tests that answers from a script and keeps what it was asked.

use std::sync::{Arc, Mutex};

use super::{Exec, Invocation, Output, RunError};

type Answer = Box<dyn Fn(&Invocation) -> Result<Output, RunError> + Send + Sync>;

/// Answers every call by a function and records the calls.
#[derive(Clone)]
pub struct Recorded {
    answer: Arc<Answer>,
    calls: Arc<Mutex<Vec<Invocation>>>,
}

impl Recorded {
    /// A recording that answers by `answer`.
    pub fn new(answer: impl Fn(&Invocation) -> Result<Output, RunError> + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(Box::new(answer)), calls: Arc::default() }
    }

    /// The calls made so far, as they would be typed.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

impl Exec for Recorded {
    fn exec(&self, call: &Invocation, _: &mut dyn FnMut(&str)) -> Result<Output, RunError> {
        self.calls.lock().unwrap().push(call.clone());
        (self.answer)(call)
    }
}
