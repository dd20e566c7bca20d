//! The language of patterns, read into a tree.

use serde_json::Value;

use super::kinds::Kind;
use super::{sentence, words};
use crate::fault::{Fault, Kind as FaultKind};

/// How deep classes may lie in classes, and brackets in brackets.
const DEEPEST: usize = 16;

/// A pattern that cannot be read: a mistake in the declaration of an operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a phrase of {of} is wrong: {why}: {phrase}")]
pub struct PatternError {
    /// The operation.
    pub of: String,
    /// The pattern.
    pub phrase: String,
    /// What is wrong with it.
    pub why: String,
}

impl Fault for PatternError {
    fn kind(&self) -> FaultKind {
        FaultKind::Failed
    }
}

/// A part of a pattern.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// This word.
    Word(String),
    /// One after the other.
    All(Vec<Node>),
    /// One of these.
    Any(Vec<Node>),
    /// It or nothing.
    Maybe(Box<Node>),
    /// A value for an argument.
    Slot(Slot),
    /// No word; the argument has this value.
    Set(String, Value),
    /// No word; the argument is the sentence as it was typed.
    Sentence(String),
    /// All that follows as it was typed, for the argument.
    Rest(String),
    /// One plain word, which goes nowhere by itself.
    Plain,
    /// Plain words to the end, which go nowhere by themselves.
    Tail,
}

/// A value for an argument.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// The argument.
    pub(super) argument: String,
    /// What it takes.
    pub(super) kind: Kind,
    /// Whether it takes several.
    pub(super) many: bool,
    /// Whether no noun says what the name is a name of.
    pub(super) evident: bool,
}

/// The patterns of one operation.
#[derive(Debug, Clone, Default)]
pub(super) struct Forms {
    /// Whole phrases.
    pub(super) phrases: Vec<Node>,
    /// What may follow any of them, once each and in any order.
    pub(super) options: Vec<Node>,
}

/// What says of which kind an argument is: by the name that a pattern gives, else by its declaration.
pub(super) type KindOf<'k> = &'k dyn Fn(&str, Option<&str>) -> Option<Kind>;

impl Forms {
    /// Reads the patterns of an operation.
    pub(super) fn new(of: &str, patterns: &[&str], kind_of: KindOf<'_>) -> Result<Self, PatternError> {
        let mut forms = Self::default();
        let mut own = Vec::new();
        for pattern in patterns {
            let wrong = |why| PatternError { of: of.to_owned(), phrase: (*pattern).to_owned(), why };
            if let Some((name, meaning)) = pattern.strip_prefix('<').and_then(|rest| rest.split_once("> = "))
            {
                own.push((name, meaning));
                continue;
            }
            let option = pattern.strip_prefix("+ ");
            let node = Reader::new(option.unwrap_or(pattern), &own, kind_of).whole().map_err(wrong)?;
            if option.is_some() { &mut forms.options } else { &mut forms.phrases }.push(node);
        }
        Ok(forms)
    }

    /// All slots.
    pub(super) fn slots(&self) -> Vec<&Slot> {
        let mut found = Vec::new();
        for node in self.phrases.iter().chain(&self.options) {
            node.walk(&mut |node| {
                if let Node::Slot(slot) = node {
                    found.push(slot);
                }
            });
        }
        found
    }

    /// All words.
    pub(super) fn words(&self) -> Vec<&str> {
        let mut found = Vec::new();
        for node in self.phrases.iter().chain(&self.options) {
            node.walk(&mut |node| {
                if let Node::Word(word) = node {
                    found.push(word.as_str());
                }
            });
        }
        found
    }
}

impl Node {
    fn walk<'n>(&'n self, see: &mut dyn FnMut(&'n Node)) {
        see(self);
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().for_each(|node| node.walk(see)),
            Self::Maybe(node) => node.walk(see),
            _ => {}
        }
    }
}

struct Reader<'p> {
    rest: &'p str,
    own: &'p [(&'p str, &'p str)],
    kind_of: KindOf<'p>,
    depth: usize,
}

impl<'p> Reader<'p> {
    fn new(pattern: &'p str, own: &'p [(&'p str, &'p str)], kind_of: KindOf<'p>) -> Self {
        Self { rest: pattern, own, kind_of, depth: 0 }
    }

    fn whole(mut self) -> Result<Node, String> {
        let node = self.alternatives()?;
        if self.rest.is_empty() {
            Ok(node)
        } else {
            Err(format!("nothing opened what ends at \"{}\"", self.rest))
        }
    }

    /// `a b|c`
    fn alternatives(&mut self) -> Result<Node, String> {
        let mut all = vec![self.sequence()?];
        while let Some(rest) = self.rest.strip_prefix('|') {
            self.rest = rest;
            all.push(self.sequence()?);
        }
        Ok(if all.len() == 1 { all.swap_remove(0) } else { Node::Any(all) })
    }

    fn sequence(&mut self) -> Result<Node, String> {
        let mut all = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.chars().next() {
                None | Some('|' | ')' | ']') => break,
                Some('(') => all.push(self.bracketed(')')?),
                Some('[') => all.push(Node::Maybe(Box::new(self.bracketed(']')?))),
                Some('<') => {
                    let name = self.until('>')?;
                    all.push(self.class(name)?);
                }
                Some('{') => {
                    let inside = self.until('}')?;
                    all.push(self.slot(inside)?);
                }
                Some('…') => {
                    self.rest = self.rest.trim_start_matches('…');
                    all.push(Node::Tail);
                }
                Some(_) => {
                    let ends = |c: char| c.is_whitespace() || "|()[]<>{}…".contains(c);
                    let (word, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
                    if word.is_empty() {
                        return Err(format!("nothing opened what ends at \"{rest}\""));
                    }
                    self.rest = rest;
                    if word == "_" {
                        all.push(Node::Plain);
                    } else {
                        all.extend(sentence::parts(word).map(Node::Word));
                    }
                }
            }
        }
        if all.is_empty() {
            Err("there is nothing where something is expected".into())
        } else {
            Ok(Node::All(all))
        }
    }

    fn bracketed(&mut self, close: char) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("it is nested too deeply".into());
        }
        self.rest = self.rest.get(1..).unwrap_or_default();
        let node = self.alternatives()?;
        self.rest = self.rest.strip_prefix(close).ok_or_else(|| format!("a '{close}' is missing"))?;
        self.depth -= 1;
        Ok(node)
    }

    /// What is between the bracket that the rest begins with and the one that closes it.
    fn until(&mut self, close: char) -> Result<&'p str, String> {
        let (inside, rest) = self
            .rest
            .get(1..)
            .and_then(|rest| rest.split_once(close))
            .ok_or_else(|| format!("a '{close}' is missing"))?;
        self.rest = rest;
        Ok(inside.trim())
    }

    fn class(&self, name: &str) -> Result<Node, String> {
        let known = self.own.iter().chain(words::CLASSES).find(|(known, _)| *known == name);
        let (_, meaning) = known.ok_or_else(|| format!("there is no class <{name}>"))?;
        if self.depth >= DEEPEST {
            return Err(format!("<{name}> is made of itself"));
        }
        Reader { rest: meaning, own: self.own, kind_of: self.kind_of, depth: self.depth + 1 }.whole()
    }

    /// `evident name: kind, …`, `name=value`, `name=…` or `name…`
    fn slot(&self, inside: &str) -> Result<Node, String> {
        if let Some((argument, value)) = inside.split_once('=') {
            self.kind(argument, Some("word"))?;
            return Ok(if value == "…" {
                Node::Sentence(argument.to_owned())
            } else {
                Node::Set(argument.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into()))
            });
        }
        let (inside, many) = match inside.strip_suffix(", …") {
            Some(one) => (one, true),
            None => (inside, false),
        };
        if let Some(argument) = inside.strip_suffix('…') {
            self.kind(argument, Some("word"))?;
            return Ok(Node::Rest(argument.to_owned()));
        }
        let (inside, evident) = match inside.strip_prefix("evident ") {
            Some(name) => (name, true),
            None => (inside, false),
        };
        let (argument, kind) = match inside.split_once(": ") {
            Some((argument, kind)) => (argument, Some(kind)),
            None => (inside, None),
        };
        Ok(Node::Slot(Slot {
            kind: self.kind(argument, kind)?,
            argument: argument.to_owned(),
            many,
            evident,
        }))
    }

    fn kind(&self, argument: &str, kind: Option<&str>) -> Result<Kind, String> {
        (self.kind_of)(argument, kind).ok_or_else(|| match kind {
            Some(kind) => format!("there is no argument {argument}, or no kind \"{kind}\""),
            None => format!("there is no argument {argument}, or no word says it"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(pattern: &str) -> String {
        let kind_of = |argument: &str, kind: Option<&str>| {
            (argument == "name").then(|| Kind::named(kind.unwrap_or("container"), &[]))?
        };
        Forms::new("x", &["<loop> = a <loop>", pattern], &kind_of).map(drop).unwrap_err().why
    }

    #[test]
    fn a_pattern_that_is_wrong_says_why() {
        for (pattern, why) in [
            ("a (b", "')' is missing"),
            ("a [b|", "nothing where something"),
            ("a b)", "nothing opened"),
            ("a > b", "nothing opened"),
            ("<nothing>", "no class <nothing>"),
            ("<loop>", "made of itself"),
            ("{name", "'}' is missing"),
            ("{other}", "no argument other"),
            ("{name: colour}", "no kind \"colour\""),
            ("{other=1}", "no argument other"),
            ("", "nothing where something"),
        ] {
            let said = wrong(pattern);
            assert!(said.contains(why), "{pattern}: {said}");
        }
    }
}
