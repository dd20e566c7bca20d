//! A sentence held against the patterns of one operation.
//!
//! All ways to read it are followed at once, word by word, so that what is found does not depend on an order; the number
//! of steps is bounded, so that no sentence takes long.

use std::cell::Cell;

use serde_json::{Map, Value};

use super::kinds::Naming;
use super::pattern::{Forms, Node, Slot};
use super::sentence::{Sentence, Word, unquoted};
use super::words;

/// The most steps for a sentence and an operation; the longest phrases take some hundreds.
const MOST_STEPS: u32 = 50_000;

/// The most readings of a beginning that are followed at once; there is hardly ever more than one.
const MOST_STATES: usize = 256;

/// How far a reading has come.
#[derive(Debug, Clone, PartialEq)]
struct State {
    /// The word that is next.
    at: usize,
    /// How many words were words of the pattern.
    literal: usize,
    /// What was bound.
    arguments: Map<String, Value>,
}

/// A reading of the whole sentence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Match {
    /// How many words were words of the pattern.
    pub(super) literal: usize,
    /// What the words gave.
    pub(super) arguments: Map<String, Value>,
    /// Whether it is only to be said what would be changed.
    pub(super) dry: bool,
}

/// What is said before a phrase, whatever it asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Opening {
    /// Where the phrase begins.
    pub(super) at: usize,
    /// Whether it is asked as a question: could you.
    pub(super) asks: bool,
    /// Whether it is only to be said what would be changed.
    dry: bool,
}

impl Opening {
    /// What these words begin with.
    pub(super) fn of(words: &[Word<'_>]) -> Self {
        let mut opening = Self::default();
        let begins = |at: usize, parts: &[&str]| -> bool {
            let next = words.get(at..).unwrap_or_default();
            next.len() >= parts.len() && parts.iter().zip(next).all(|(part, word)| word.is(part))
        };
        loop {
            let at = opening.at;
            if begins(at, &["please"]) || begins(at, &["kindly"]) {
                opening.at += 1;
            } else if !opening.asks
                && ["could", "can", "would", "will"].iter().any(|verb| begins(at, &[verb, "you"]))
            {
                opening.asks = true;
                opening.at += 2;
            } else if !opening.dry && begins(at, &["dry", "run", ":"]) {
                opening.dry = true;
                opening.at += 3;
            } else {
                return opening;
            }
        }
    }
}

impl Word<'_> {
    /// Whether it is this word of a pattern.
    fn is(&self, word: &str) -> bool {
        !self.quoted && self.folded == word
    }
}

/// A sentence and how far it was followed.
pub(super) struct Matcher<'s> {
    sentence: &'s Sentence<'s>,
    opening: Opening,
    steps: Cell<u32>,
    reach: Cell<usize>,
}

impl<'s> Matcher<'s> {
    pub(super) fn new(sentence: &'s Sentence<'s>, opening: Opening) -> Self {
        Self { sentence, opening, steps: Cell::new(0), reach: Cell::new(opening.at) }
    }

    /// The first word that no pattern could take.
    pub(super) fn reach(&self) -> usize {
        self.reach.get()
    }

    /// All readings of the whole sentence.
    pub(super) fn read(&self, forms: &Forms) -> Vec<Match> {
        let mut found = Vec::new();
        let first = self.sentence.words.get(self.opening.at);
        for phrase in forms.phrases.iter().filter(|phrase| first.is_some_and(|word| phrase.begins(word).0)) {
            let mut states =
                self.walk(phrase, State { at: self.opening.at, literal: 0, arguments: Map::new() });
            let mut begin = 0;
            // Each round takes one option more; an option that was taken binds its argument, and is not taken again.
            for _ in 0..forms.options.len() {
                let end = states.len();
                for index in begin..end {
                    for at in self.joined(states[index].at) {
                        for option in &forms.options {
                            let from = State { at, ..states[index].clone() };
                            for state in self.walk(option, from) {
                                if state.at > at {
                                    self.add(&mut states, state);
                                }
                            }
                        }
                    }
                }
                begin = end;
            }
            for State { at, literal, arguments } in states {
                let Some(dry) = self.closing(at) else { continue };
                let one = Match { literal, arguments, dry: dry || self.opening.dry };
                if !found.contains(&one) {
                    found.push(one);
                }
            }
        }
        if self.steps.get() > MOST_STEPS { Vec::new() } else { found }
    }

    fn word(&self, at: usize, word: &str) -> bool {
        self.sentence.words.get(at).is_some_and(|typed| typed.is(word))
    }

    /// Where what follows may begin: at once, or behind a comma, an "and" or a "but".
    fn joined(&self, at: usize) -> Vec<usize> {
        let comma = at + usize::from(self.word(at, ","));
        let and = comma + usize::from(self.word(comma, "and") || self.word(comma, "but"));
        let mut all = vec![at, comma, and];
        all.dedup();
        all
    }

    /// Whether nothing but politeness is left, and whether it says that nothing is to be changed.
    fn closing(&self, mut at: usize) -> Option<bool> {
        const CLOSINGS: [(&[&str], bool); 6] = [
            (&["please"], false),
            (&["now"], false),
            (&["right", "now"], false),
            (&["for", "me"], false),
            (&["--dry-run"], true),
            (&["as", "a", "dry", "run"], true),
        ];
        let mut dry = false;
        while at < self.sentence.words.len() {
            let from = at + usize::from(self.word(at, ","));
            let said = |parts: &[&str]| parts.iter().zip(from..).all(|(part, at)| self.word(at, part));
            let (parts, means) = CLOSINGS.iter().find(|(parts, _)| said(parts))?;
            at = from + parts.len();
            dry |= means;
        }
        Some(dry)
    }

    fn walk(&self, node: &Node, state: State) -> Vec<State> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MOST_STEPS {
            return Vec::new();
        }
        let words = &self.sentence.words;
        match node {
            Node::Word(word) => {
                if !self.word(state.at, word) {
                    return Vec::new();
                }
                self.took(State { at: state.at + 1, literal: state.literal + 1, ..state })
            }
            Node::All(nodes) => nodes.iter().fold(vec![state], |states, node| {
                self.distinct(states.into_iter().flat_map(|state| self.walk(node, state)))
            }),
            Node::Any(nodes) => self.distinct(nodes.iter().flat_map(|node| self.walk(node, state.clone()))),
            Node::Maybe(node) => self.distinct(self.walk(node, state.clone()).into_iter().chain([state])),
            Node::Slot(slot) if slot.many => self.several(slot, &state),
            Node::Slot(slot) => {
                let read = slot.kind.read(&words[state.at.min(words.len())..], self.naming(slot, state.at));
                let Some((taken, value)) = read else { return Vec::new() };
                bound(state, &slot.argument, value, taken).map_or_else(Vec::new, |state| self.took(state))
            }
            Node::Set(argument, value) => bound(state, argument, value.clone(), 0).into_iter().collect(),
            Node::Sentence(argument) => {
                bound(state, argument, self.sentence.text.into(), 0).into_iter().collect()
            }
            Node::Rest(argument) => {
                let Some(first) = words.get(state.at) else { return Vec::new() };
                let rest = &self.sentence.text[first.span.start..];
                let body = &self.sentence.text[first.span.start..self.sentence.end];
                let rest = unquoted(rest).or_else(|| unquoted(body)).unwrap_or(rest);
                let taken = words.len() - state.at;
                bound(state, argument, rest.into(), taken).map_or_else(Vec::new, |state| self.took(state))
            }
            Node::Plain => match words.get(state.at) {
                Some(word) if is_plain(word) => self.took(State { at: state.at + 1, ..state }),
                _ => Vec::new(),
            },
            Node::Tail => {
                let rest = words.get(state.at..).unwrap_or_default();
                let plain = rest.iter().take_while(|word| is_plain(word)).count();
                if rest.is_empty() || plain < rest.len() {
                    self.took(State { at: state.at + plain, ..state });
                    return Vec::new();
                }
                self.took(State { at: words.len(), ..state })
            }
        }
    }

    /// Each once: what has come equally far with the same arguments goes on alike.
    fn distinct(&self, states: impl Iterator<Item = State>) -> Vec<State> {
        let mut all = Vec::new();
        for state in states {
            self.add(&mut all, state);
        }
        all
    }

    fn add(&self, all: &mut Vec<State>, state: State) {
        if all.len() >= MOST_STATES {
            self.steps.set(MOST_STEPS + 1);
        } else if !all.contains(&state) {
            all.push(state);
        }
    }

    /// A list: commas or "and" between its values. It may end after each of them, as what follows may begin with "and".
    fn several(&self, slot: &Slot, state: &State) -> Vec<State> {
        let words = &self.sentence.words;
        let (mut at, mut values, mut all) = (state.at, Vec::new(), Vec::new());
        loop {
            let read = slot.kind.read(&words[at.min(words.len())..], self.naming(slot, at));
            let Some((taken, value)) = read else { return all };
            at += taken;
            values.push(value);
            let state = State { at, ..state.clone() };
            if let Some(state) = bound(state, &slot.argument, values.clone().into(), 0) {
                all.extend(self.took(state));
            }
            let comma = at + usize::from(self.word(at, ","));
            let and = comma + usize::from(self.word(comma, "and"));
            if and == at {
                return all;
            }
            at = and + usize::from(self.word(and, "the"));
        }
    }

    fn naming(&self, slot: &Slot, at: usize) -> Naming {
        let before = at.checked_sub(1).and_then(|before| self.sentence.words.get(before));
        if before.is_some_and(|word| !word.quoted && words::introduces_a_name(&word.folded)) {
            Naming::Any
        } else if slot.evident {
            Naming::Evident
        } else {
            Naming::Noun
        }
    }

    fn took(&self, state: State) -> Vec<State> {
        self.reach.set(self.reach.get().max(state.at));
        vec![state]
    }
}

impl Node {
    /// Whether it may begin with a word, and whether it may be nothing: most phrases are done with by their first word.
    fn begins(&self, word: &Word<'_>) -> (bool, bool) {
        match self {
            Self::Word(own) => (word.is(own), false),
            Self::All(nodes) => {
                for node in nodes {
                    match node.begins(word) {
                        (true, _) => return (true, false),
                        (false, false) => return (false, false),
                        (false, true) => {}
                    }
                }
                (false, true)
            }
            Self::Any(nodes) => nodes
                .iter()
                .map(|node| node.begins(word))
                .fold((false, false), |a, b| (a.0 || b.0, a.1 || b.1)),
            Self::Maybe(node) => (node.begins(word).0, true),
            Self::Set(..) | Self::Sentence(_) => (false, true),
            Self::Slot(_) | Self::Rest(_) | Self::Plain | Self::Tail => (true, false),
        }
    }
}

/// With an argument more. Two values for one argument contradict each other.
fn bound(mut state: State, argument: &str, value: Value, taken: usize) -> Option<State> {
    match state.arguments.get(argument) {
        Some(other) if *other != value => return None,
        Some(_) => {}
        None => {
            state.arguments.insert(argument.to_owned(), value);
        }
    }
    state.at += taken;
    Some(state)
}

/// Whether a word may stand in a question that is passed on as it is: no other sentence begins with it, nothing is turned
/// around, and it is no code.
fn is_plain(word: &Word<'_>) -> bool {
    let inside = |c: char| c.is_alphanumeric() || "-_./@:'’+".contains(c);
    ![",", ":"].contains(&word.text)
        && !word.text.starts_with(['-', '.'])
        && !word.text.ends_with('.')
        && !word.text.contains("..")
        && !word.text.contains("--")
        && word.text.chars().all(inside)
        && !words::is_negation(&word.folded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::kinds::Kind;

    fn readings(pattern: &str, text: &str) -> (usize, u32) {
        let forms = Forms::new("x", &[pattern], &|_, _| Kind::named("word", &[])).unwrap();
        let sentence = Sentence::new(text).unwrap();
        let matcher = Matcher::new(&sentence, Opening::of(&sentence.words));
        (matcher.read(&forms).len(), matcher.steps.get())
    }

    #[test]
    fn readings_that_are_the_same_are_followed_once() {
        let (found, steps) = readings(&"[a] ".repeat(30), &"a ".repeat(15));
        assert_eq!(found, 1);
        assert!(steps < 2_000, "{steps}");
    }

    #[test]
    fn a_pattern_with_countless_readings_ends_with_none() {
        let pattern: String = (0..40).map(|number| format!("[a {{x{number}=1}}] ")).collect();
        let (found, steps) = readings(&pattern, &"a ".repeat(20));
        assert_eq!(found, 0);
        assert!(steps <= MOST_STEPS + 1_000, "{steps}");
    }
}
