//! Sentences of an administrator, read as one operation with its arguments, or as nothing.
//!
//! Nothing is guessed. Every word of a sentence must be a word of a pattern, a value that an argument takes, or one of
//! politeness; else the answer is [`Reading::Nothing`], with what was understood, what was not, and the operations that
//! come nearest. The same sentence is always read the same, and every sentence is read in bounded time.
//!
//! # Patterns
//!
//! An operation declares them beside its arguments ([`Op::PHRASES`](crate::ops::Op::PHRASES)); there is no operation in this
//! module. So a new one is understood by what it declares:
//!
//! ```text
//! "<create> [a] [new] [debian {template=debian-base}] <container> [<named>] {name}"
//! "+ [with] {memory: mebibytes} [of] (memory|ram)"
//! ```
//!
//! | | |
//! |---|---|
//! | `word` | this word, in upper or lower case |
//! | `(a\|b c)` | one of these |
//! | `[a]` | it or nothing |
//! | `<create>` | a class of synonyms: one that all operations share (`words.rs`), or one of this operation's |
//! | `{name}` | a value for the argument `name`, of the argument's own type |
//! | `{memory: mebibytes}` | a value that is read in another way than its type says (`kinds.rs`) |
//! | `{connect, …}` | several, with commas or "and" between them |
//! | `{evident name}` | a name that no noun comes before: it must have a digit, a hyphen or the like |
//! | `{template=debian-base}` | no word; the argument has this value (JSON, or else a text) |
//! | `{query…}` | all that follows, as it was typed |
//! | `{query=…}` | no word; the argument is the whole sentence, as it was typed |
//! | `_` | one plain word, whatever it is; for a pattern with `{query=…}` |
//! | `…` | plain words up to the end, none of them a negation; for a pattern with `{query=…}` |
//!
//! A pattern that begins with `+ ` is an option: it may follow any phrase of its operation, once, in any order, after a
//! comma, an "and", a "but" or nothing. `<done> = created|made` declares a class for the operation's patterns after it. A
//! list of words that is known only when the program runs is declared as
//! [`Op::CHOICES`](crate::ops::Op::CHOICES).
//!
//! Politeness ("could you please …, please", "… now") and `dry run: …`, `… --dry-run` go with every phrase. Words of the
//! language (`words.rs`) are names only in quotation marks or behind "named". Where several patterns read a sentence, the
//! one with more words of its own wins; where two that are different have as many, it is ambiguous, and nothing is done.
//! An order that ends with a question mark is one only if it began as a question ("could you …?").
//!
//! A sentence that no phrase reads is tried as the operation's command, `op-dbus container create web-01` with or without
//! its first word. What is read either way is written as a command and read again by clap, so that every check of the
//! command line holds for it, and [`Grammar::command`] is always right.

mod command;
mod examples;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod kinds;
mod matching;
mod nearest;
mod pattern;
mod sentence;
mod typed;
mod unclear;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

pub use pattern::PatternError;
pub use sentence::LONGEST;
pub use unclear::{Suggestion, Unclear, Why};

use crate::ops::{DRY_RUN, Effect, Operation, Registry};
use kinds::Kind;
use matching::{Match, Matcher, Opening};
use nearest::Vocabulary;
use pattern::Forms;
use sentence::{Sentence, Unfit};

/// What asks the chat itself what it can do.
const HELP: &[&str] = &["[show] help [me]", "<which> can (you do|I (do|ask|say))"];

/// What asks the chat itself for the operations there are.
const TOOLS: &[&str] = &[
    "[<list>] [all] [the] [available] tools",
    "<which> tools (are there|are available|do you have|can you use)",
];

/// How many operations are offered in place of one that was not understood.
const OFFERED: usize = 3;

/// What a sentence means.
#[derive(Debug, Clone)]
pub enum Reading<'g> {
    /// This operation with these arguments, a JSON object: those that the sentence gives.
    Call {
        /// The operation.
        operation: &'g Operation,
        /// Its arguments.
        arguments: Value,
    },
    /// What the chat can do is asked for.
    Help,
    /// The operations there are are asked for.
    Tools,
    /// Nothing: no operation is run.
    Nothing(Unclear<'g>),
}

/// All patterns of a registry, ready to read.
#[derive(Debug)]
pub struct Grammar {
    entries: Vec<Entry>,
    help: Forms,
    tools: Forms,
    vocabulary: Vocabulary,
}

/// An operation that the chat offers.
#[derive(Debug)]
struct Entry {
    operation: Operation,
    forms: Forms,
    /// What a value may be of each argument that is a text.
    kinds: BTreeMap<String, Vec<Kind>>,
    /// Its command, behind `op-dbus`: the words of its name; or the name of another and a flag, where the one is a part of
    /// the other.
    command: (Vec<&'static str>, Option<&'static str>),
    example: String,
}

/// What a pattern was found to say.
#[derive(Debug, Clone, PartialEq)]
enum Meaning {
    Help,
    Tools,
    Call(usize, Map<String, Value>),
}

/// What the patterns made of a sentence.
#[derive(Debug)]
struct Held {
    /// What it can mean, each with how many of its words were words of the pattern.
    found: Vec<(usize, Meaning)>,
    /// How many words each operation's patterns took.
    reach: Vec<usize>,
    /// The first word that no pattern could take.
    furthest: usize,
}

impl Grammar {
    /// The grammar of these operations.
    pub fn new(registry: &Registry) -> Result<Self, PatternError> {
        let names: Vec<&'static str> = registry.iter().map(|operation| operation.name).collect();
        let offered = registry.iter().filter(|operation| command::is_offered(operation));
        let entries =
            offered.map(|operation| Entry::new(operation, &names)).collect::<Result<Vec<_>, _>>()?;
        let plain = |of, patterns| Forms::new(of, patterns, &|_, _| None);
        let vocabulary = Vocabulary::new(entries.iter().map(Entry::vocabulary).collect());
        Ok(Self { entries, help: plain("help", HELP)?, tools: plain("tools", TOOLS)?, vocabulary })
    }

    /// The operations that the chat offers, each with a phrase that asks for it, in the order of the registry.
    pub fn offered(&self) -> impl Iterator<Item = Suggestion<'_>> {
        self.entries.iter().map(Entry::suggestion)
    }

    /// A phrase that asks for an operation; none where the chat does not offer it.
    #[must_use]
    pub fn example(&self, operation: &Operation) -> Option<&str> {
        self.entry(operation).map(|entry| entry.example.as_str())
    }

    /// The command of a shell that makes this call; none where the chat does not offer the operation, or no command line
    /// gives the arguments.
    #[must_use]
    pub fn command(&self, operation: &Operation, arguments: &Value) -> Option<String> {
        let entry = self.entry(operation)?;
        let (name, flag) = &entry.command;
        let words = command::words(&entry.operation, arguments.as_object()?)?;
        let name = name.iter().map(|part| (*part).to_owned()).chain(flag.map(|flag| format!("--{flag}")));
        let words = words.iter().map(|word| command::quoted(word));
        Some(std::iter::once("op-dbus".to_owned()).chain(name).chain(words).collect::<Vec<_>>().join(" "))
    }

    fn entry(&self, operation: &Operation) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.operation.name == operation.name)
    }

    /// What a sentence means.
    #[must_use]
    pub fn read(&self, sentence: &str) -> Reading<'_> {
        let cut = match Sentence::new(sentence) {
            Ok(cut) => cut,
            Err(unfit) => return Reading::Nothing(unfit.explained(sentence)),
        };
        let opening = Opening::of(&cut.words);
        let Held { mut found, reach, furthest } = self.held(&cut, opening);
        let mut asked = opening.asks;
        if found.is_empty() {
            found.extend(
                typed::command(&self.entries, &cut).map(|(index, given)| (0, Meaning::Call(index, given))),
            );
            asked = false;
        }
        // What is refused is not exchanged for something else that could be done.
        let most = found.iter().map(|(literal, _)| *literal).max();
        found.retain(|(literal, _)| Some(*literal) == most);
        let refused = found.iter().find_map(|(_, meaning)| self.refusal(meaning, cut.asks && !asked));
        match (found.as_slice(), refused) {
            ([(_, meaning)], None) => self.reading(meaning),
            ([], _) => {
                let why = if furthest < cut.words.len() { Why::Unknown } else { Why::Unfinished };
                self.nothing(why, &cut, furthest, self.nearest(&cut, opening.at, &reach))
            }
            (_, Some(why)) => {
                self.nothing(why, &cut, cut.words.len(), self.nearest(&cut, opening.at, &reach))
            }
            (several, None) => {
                let mut meant: Vec<usize> = Vec::new();
                for (_, meaning) in several {
                    if let Meaning::Call(index, _) = meaning
                        && !meant.contains(index)
                    {
                        meant.push(*index);
                    }
                }
                meant.truncate(OFFERED);
                self.nothing(Why::Ambiguous, &cut, cut.words.len(), meant)
            }
        }
    }

    /// A sentence held against all patterns.
    fn held(&self, sentence: &Sentence<'_>, opening: Opening) -> Held {
        let mut held = Held { found: Vec::new(), reach: Vec::new(), furthest: opening.at };
        let mut follow = |forms: &Forms, meaning: &dyn Fn(Map<String, Value>) -> Meaning| {
            let matcher = Matcher::new(sentence, opening);
            for Match { literal, mut arguments, dry } in matcher.read(forms) {
                if dry {
                    arguments.insert(DRY_RUN.to_owned(), true.into());
                }
                held.found.push((literal, meaning(arguments)));
            }
            held.furthest = held.furthest.max(matcher.reach());
            matcher.reach() - opening.at
        };
        follow(&self.help, &|_| Meaning::Help);
        follow(&self.tools, &|_| Meaning::Tools);
        let entries = self.entries.iter().enumerate();
        let reach = entries
            .map(|(index, entry)| follow(&entry.forms, &|given| Meaning::Call(index, given)))
            .collect();
        Held { reach, ..held }
    }

    /// Why something is not done, though it is understood.
    fn refusal(&self, meaning: &Meaning, doubted: bool) -> Option<Why> {
        let Meaning::Call(index, arguments) = meaning else { return None };
        let operation = &self.entries[*index].operation;
        if doubted && operation.effect != Effect::Read {
            return Some(Why::Doubtful);
        }
        (!command::agrees(operation, arguments)).then_some(Why::Refused)
    }

    /// The operations that come nearest to a sentence, by how far their patterns reached and by its words.
    fn nearest(&self, sentence: &Sentence<'_>, from: usize, reach: &[usize]) -> Vec<usize> {
        let said: Vec<String> = sentence.words[from..].iter().map(|word| word.folded.clone()).collect();
        self.vocabulary.nearest(&said, reach, OFFERED)
    }

    fn reading(&self, meaning: &Meaning) -> Reading<'_> {
        match meaning {
            Meaning::Help => Reading::Help,
            Meaning::Tools => Reading::Tools,
            Meaning::Call(index, arguments) => Reading::Call {
                operation: &self.entries[*index].operation,
                arguments: Value::Object(arguments.clone()),
            },
        }
    }

    fn nothing(&self, why: Why, sentence: &Sentence<'_>, at: usize, near: Vec<usize>) -> Reading<'_> {
        let (understood, unknown) = sentence.halves(at);
        Reading::Nothing(Unclear {
            why,
            understood: understood.to_owned(),
            unknown: unknown.to_owned(),
            nearest: near.into_iter().map(|index| self.entries[index].suggestion()).collect(),
        })
    }
}

impl Entry {
    fn new(operation: &Operation, names: &[&'static str]) -> Result<Self, PatternError> {
        let schema = operation.describe().arguments;
        let properties = schema.get("properties").and_then(Value::as_object);
        let has = |argument: &str| properties.is_some_and(|properties| properties.contains_key(argument));
        let kind_of = |argument: &str, kind: Option<&str>| match kind {
            _ if !has(argument) => None,
            Some(kind) => Kind::named(kind, names),
            None => Kind::of(operation, &schema, argument),
        };
        let forms = Forms::new(operation.name, operation.phrases, &kind_of)?;
        let mut kinds: BTreeMap<String, Vec<Kind>> = BTreeMap::new();
        for slot in forms.slots() {
            kinds.entry(slot.argument.clone()).or_default().push(slot.kind.clone());
        }
        for argument in properties.into_iter().flatten().map(|(argument, _)| argument) {
            if !kinds.contains_key(argument)
                && let Some(kind) = Kind::of(operation, &schema, argument)
            {
                kinds.insert(argument.clone(), vec![kind]);
            }
        }
        // An operation that is a part of another is that one with a flag: `doctor --fix`.
        let part = operation.name.rsplit_once('.').filter(|(whole, _)| names.contains(whole));
        let command = match part {
            Some((whole, flag)) => (whole.split('.').collect(), Some(flag)),
            None => (operation.name.split('.').collect(), None),
        };
        let example = match forms.phrases.first() {
            Some(phrase) => examples::example(phrase),
            None => operation.name.replace('.', " "),
        };
        Ok(Self { operation: *operation, forms, kinds, command, example })
    }

    fn suggestion(&self) -> Suggestion<'_> {
        Suggestion { operation: &self.operation, example: &self.example }
    }

    /// The words by which it is found: of its patterns, its name and what it is for.
    fn vocabulary(&self) -> BTreeSet<String> {
        let of = |text: &str| {
            let ends = |c: char| !c.is_alphanumeric();
            text.split(ends).map(str::to_lowercase).collect::<Vec<_>>()
        };
        let mut words = of(self.operation.name);
        words.extend(of(self.operation.summary));
        words.extend(self.forms.words().into_iter().map(str::to_owned));
        words.into_iter().filter(|word| !word.is_empty() && !words::is_of_the_language(word)).collect()
    }
}

impl Unfit {
    fn explained<'g>(self, typed: &str) -> Unclear<'g> {
        let why = match self {
            Self::Empty => Why::Empty,
            Self::TooLong => Why::TooLong,
            Self::Hidden(c) => Why::Hidden(c),
        };
        let shown: String = typed.trim().chars().take(80).flat_map(char::escape_debug).collect();
        Unclear { why, understood: String::new(), unknown: shown, nearest: Vec::new() }
    }
}
