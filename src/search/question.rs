//! A question taken apart: when, how it ended, who asked, and what is left to be looked for.
//!
//! Only what is beyond doubt becomes a filter; the words it was said with are then no longer looked for. All of it is shown
//! with the answer.

use std::ops::Range;

use jiff::Zoned;

use super::glosses::about;
use super::when::{self, LastTime, Phrase, TimeRange};
use super::words::{Word, words};

/// A question, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// When: what all phrases of time have in common.
    pub range: TimeRange,
    /// The phrases of time, as they were written.
    pub phrases: Vec<String>,
    /// How it ended: `ok`, `failed` or `refused`.
    pub outcome: Option<&'static str>,
    /// Who asked for it.
    pub caller: Option<String>,
    /// The operations that it is about: those that all of its words are of, apart from names.
    pub operations: Vec<String>,
    /// The rest, for its meaning.
    pub text: String,
    /// The words of the rest that say something.
    pub words: Vec<String>,
    /// Those of them that look like names: with digits, dashes, dots.
    pub names: Vec<String>,
}

/// What a question may be about, as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// The users who asked for something.
    pub callers: Vec<String>,
    /// The operations that were called.
    pub operations: Vec<String>,
}

/// How things end, in words. What is longer comes first.
const OUTCOMES: [(&str, &[&str]); 3] = [
    ("ok", &["did not fail", "didn't fail", "successfully", "successful", "succeeded"]),
    (
        "refused",
        &[
            "was not allowed",
            "were not allowed",
            "turned away",
            "refused",
            "denied",
            "rejected",
            "refusals",
            "refusal",
        ],
    ),
    (
        "failed",
        &[
            "did not work",
            "didn't work",
            "did not start",
            "didn't start",
            "could not be",
            "couldn't be",
            "went wrong",
            "go wrong",
            "goes wrong",
            "going wrong",
            "failed",
            "failing",
            "failures",
            "failure",
            "fails",
            "fail",
            "unsuccessful",
        ],
    ),
];

/// What says of a name that it is of who asked.
const BY: [&str; 6] = ["by", "did", "of", "from", "has", "had"];

/// Words that a question is made with and that say nothing of what is looked for.
const NOTHING: [&str; 113] = [
    "a",
    "about",
    "all",
    "also",
    "an",
    "and",
    "any",
    "anybody",
    "anyone",
    "anything",
    "are",
    "as",
    "at",
    "back",
    "be",
    "been",
    "but",
    "by",
    "can",
    "could",
    "did",
    "do",
    "does",
    "done",
    "entries",
    "entry",
    "ever",
    "every",
    "everything",
    "find",
    "for",
    "from",
    "get",
    "give",
    "go",
    "going",
    "got",
    "had",
    "happen",
    "happened",
    "happening",
    "happens",
    "has",
    "have",
    "here",
    "how",
    "i",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "like",
    "list",
    "look",
    "looks",
    "made",
    "me",
    "my",
    "no",
    "not",
    "of",
    "on",
    "or",
    "our",
    "out",
    "please",
    "search",
    "see",
    "shall",
    "should",
    "show",
    "since",
    "so",
    "some",
    "somebody",
    "someone",
    "something",
    "tell",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "to",
    "too",
    "up",
    "us",
    "very",
    "want",
    "wanted",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "which",
    "who",
    "whose",
    "why",
    "will",
    "with",
    "would",
    "you",
    "yet",
];

/// Takes a question apart.
#[must_use]
pub fn read(text: &str, now: &Zoned, last: LastTime<'_>, known: &Known) -> Question {
    let mut question = Question::default();
    let mut taken: Vec<Range<usize>> = Vec::new();
    for Phrase { range, span } in when::find(text, now, last) {
        // One that leaves nothing adds nothing: "the week before last, monday to sunday".
        let both = question.range.and(range);
        if !both.is_empty() {
            question.range = both;
        }
        question.phrases.push(text[span.clone()].to_owned());
        taken.push(span);
    }
    let is_left =
        |word: &Word, taken: &[Range<usize>]| !taken.iter().any(|span| span.contains(&word.span.start));
    let left: Vec<Word> = words(text).into_iter().filter(|word| is_left(word, &taken)).collect();
    if let Some((outcome, span)) = outcome(&left) {
        question.outcome = Some(outcome);
        taken.push(span);
    }
    if let Some((caller, span)) = caller(&left, &known.callers) {
        question.caller = Some(caller);
        taken.push(span);
    }
    let left: Vec<Word> = left.into_iter().filter(|word| is_left(word, &taken)).collect();
    question.text = left.iter().map(|word| &text[word.span.clone()]).collect::<Vec<_>>().join(" ");
    let says = |word: &String| !NOTHING.contains(&word.as_str()) && word.contains(char::is_alphanumeric);
    question.words = left.into_iter().map(|word| word.text).filter(says).collect();
    let (names, rest): (Vec<_>, Vec<_>) = question.words.iter().cloned().partition(|word| is_name(word));
    question.names = names;
    question.operations = about(&rest, &known.operations);
    question
}

fn outcome(words: &[Word]) -> Option<(&'static str, Range<usize>)> {
    let said = OUTCOMES.iter().find_map(|(outcome, phrases)| {
        phrases.iter().find_map(|phrase| {
            let phrase: Vec<&str> = phrase.split(' ').collect();
            let at = words.windows(phrase.len()).position(|some| {
                some.iter().zip(&phrase).all(|(word, wanted)| word.text.replace('’', "'") == **wanted)
            })?;
            // "did not start" says of what it was, as well: "not" goes, "start" stays.
            let end = at + phrase.len() - usize::from(phrase.ends_with(&["start"]));
            Some((*outcome, words[at].span.start..words[end - 1].span.end))
        })
    });
    said.or_else(|| Some(("failed", why_not(words)?)))
}

/// "why did web-01 not come up", "why couldn't it be built": the word that says so.
fn why_not(words: &[Word]) -> Option<Range<usize>> {
    let is = |word: &Word, any: &[&str]| any.contains(&word.text.replace('’', "'").as_str());
    let why = words.iter().position(|word| is(word, &["why"]))?;
    let not = words[why..].iter().find(|word| {
        is(word, &["not", "cannot", "can't", "couldn't", "didn't", "doesn't", "wasn't", "won't", "wouldn't"])
    });
    not.map(|word| word.span.clone())
}

/// A user who is named, alone ("what did carol do", "carol's") or after a word that says so. root is also what files and
/// file systems are called.
fn caller(words: &[Word], callers: &[String]) -> Option<(String, Range<usize>)> {
    words.iter().enumerate().find_map(|(at, word)| {
        let name =
            word.text.strip_suffix("'s").or_else(|| word.text.strip_suffix("’s")).unwrap_or(&word.text);
        let said = at > 0 && BY.contains(&words[at - 1].text.as_str());
        let known = callers.iter().any(|caller| caller == name) && (name != "root" || said);
        // "uid 1337"
        let numbered = at > 0 && words[at - 1].text == "uid" && callers.iter().any(|caller| caller == name);
        let begin = if said || numbered { words[at - 1].span.start } else { word.span.start };
        (known || numbered).then(|| (name.to_owned(), begin..word.span.end))
    })
}

/// Whether a word looks like a name that somebody gave: it has a digit, or signs inside that words do not have. A number of
/// one or two digits is none ("debian 13").
fn is_name(word: &str) -> bool {
    let number = word.len() <= 2 && word.bytes().all(|b| b.is_ascii_digit());
    !number && word.contains(|c: char| c.is_ascii_digit())
        || word.trim_matches('-').contains(['-', '.', '/', '_', '@', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Question {
        let now: Zoned = "2026-11-18T15:00:00+01:00[Europe/Berlin]".parse().unwrap();
        let known = Known {
            callers: ["root", "carol", "www-data", "1337"].map(str::to_owned).to_vec(),
            operations: ["container.create", "container.start", "search"].map(str::to_owned).to_vec(),
        };
        read(text, &now, &|_| None, &known)
    }

    #[test]
    fn a_question_is_taken_apart() {
        let question = asked("Which containers did carol fail to start yesterday?");
        assert_eq!((question.outcome, question.caller.as_deref()), (Some("failed"), Some("carol")));
        assert_eq!(question.phrases, ["yesterday"]);
        assert_eq!(question.words, ["containers", "start"]);
        let question = asked("containers that did not start, web-01 among them");
        assert_eq!(
            (question.outcome, question.names.as_slice()),
            (Some("failed"), ["web-01".to_owned()].as_slice())
        );
        assert_eq!(question.words, ["containers", "start", "web-01", "among"]);
    }

    #[test]
    fn what_it_is_about_is_an_operation_where_nothing_else_is_said() {
        for (text, operations, names) in [
            ("what containers were created yesterday?", &["container.create"][..], &[][..]),
            ("was the container db-01 created by carol?", &["container.create"], &["db-01"]),
            ("which containers did not start", &["container.start"], &[]),
            ("containers created with nesting", &[], &[]),
            ("what happened to db-01", &[], &["db-01"]),
        ] {
            let question = asked(text);
            assert_eq!(
                (&question.operations[..], &question.names[..]),
                (
                    &operations.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>()[..],
                    &names.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>()[..]
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn who_is_named_is_a_filter_and_what_only_sounds_like_it_is_not() {
        for (text, caller) in [
            ("carol's restores", Some("carol")),
            ("calls by uid 1337", Some("1337")),
            ("everything of root", Some("root")),
            ("what www-data wanted", Some("www-data")),
            ("who filled the root file system", None),
            ("by nobody", None),
            ("/root/q3.jsonl", None),
        ] {
            assert_eq!(asked(text).caller.as_deref(), caller, "{text}");
        }
    }

    #[test]
    fn why_something_is_not_is_asked_of_what_failed() {
        for (text, outcome, words) in [
            (
                "why could ci-runner-07 not be created at first?",
                Some("failed"),
                &["ci-runner-07", "created", "first"][..],
            ),
            ("why didn’t the bridge get its uplink", Some("failed"), &["bridge", "uplink"]),
            ("what did alice not change", None, &["alice", "change"]),
        ] {
            let question = asked(text);
            assert_eq!(question.outcome, outcome, "{text}");
            assert_eq!(question.words, words, "{text}");
        }
    }

    #[test]
    fn a_question_of_nothing_but_a_time_leaves_nothing_to_look_for() {
        for text in ["what happened yesterday?", "show me everything in March", "today"] {
            let question = asked(text);
            assert!(question.words.is_empty() && question.range != TimeRange::default(), "{question:?}");
        }
    }
}
