//! Whatever is typed, it is read in little time, and nothing that is hostile or turned around becomes a call.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::{grammar, phrases, read, registry, searches};

#[test]
fn no_sentence_takes_long() {
    let many = |word: &str, times: usize| vec![word; times].join(" ");
    let hostile = [
        "a".repeat(1 << 20),
        many("not", 10_000),
        many("please", 120),
        many("container", 120),
        many("the", 120),
        format!("create container web-01 connected to {}", many("web-01 and", 60)),
        format!("create container web-01 {}", many("with 2 cores and", 25)),
        format!("take a snapshot {}", many("of web-01,", 60)),
        format!("plan {}", many("nat, flows and the", 30)),
        format!("show ledger entries {}", many("for web-01 since 2026-01-01 until 2026-01-01", 18)),
        format!("create container a {}", many("on the mesh using socket networking without swap", 16)),
        format!("search for {}", many("x", 110)),
        "(".repeat(4000),
        many("\u{202e}\u{200b}", 300),
    ];
    let before = Instant::now();
    for sentence in &hostile {
        let _ = grammar().read(sentence);
    }
    // In a program that is not optimised, on a busy machine.
    let took = before.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// What turns a sentence around or takes it back.
const NEGATIONS: [&str; 14] = [
    "not", "never", "don't", "don’t", "dont", "no", "without", "nothing", "unless", "except", "NOT",
    "cannot", "won't", "nicht",
];

/// What is code, or hides something.
const HOSTILE: [&str; 24] = [
    "; rm -rf /",
    "&& reboot",
    "| sh",
    "$(reboot)",
    "`reboot`",
    "${HOME}",
    "' OR 1=1 --",
    "'; DROP TABLE operations; --",
    "<script>",
    "{{x}}",
    "%s%n",
    "../../etc/passwd",
    "\u{202e}",
    "\u{200b}",
    "\u{0}",
    "\u{1b}[2K",
    "\n",
    "\r\n",
    "*",
    "\\",
    "--force --all",
    "> /etc/passwd",
    "(",
    "\u{2028}",
];

/// A phrase with something put before its word of this number, or at its end.
fn with(phrase: &str, what: &str, at: usize) -> String {
    let mut words: Vec<&str> = phrase.split(' ').collect();
    words.insert(at % (words.len() + 1), what);
    words.join(" ")
}

/// The words that there are in phrases, and some others.
fn vocabulary() -> Vec<String> {
    let mut words: Vec<String> = phrases()
        .iter()
        .flat_map(|(phrase, ..)| phrase.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    words.extend(NEGATIONS.iter().chain(&HOSTILE).map(|&word| word.to_owned()));
    words.sort();
    words.dedup();
    words
}

/// Whether a value that was read is fit for a path, an argument and a line.
fn is_clean(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            text.bytes().all(|b| b.is_ascii_alphanumeric() || b"@._:/+-".contains(&b)) && !text.contains("..")
        }
        Value::Array(values) => values.iter().all(is_clean),
        Value::Object(map) => map.values().all(is_clean),
        _ => true,
    }
}

fn check(sentence: &str) -> Result<(), TestCaseError> {
    if let Some((name, arguments)) = read(sentence) {
        prop_assert_eq!(read(sentence), Some((name.clone(), arguments.clone())), "not the same again");
        prop_assert!(name == "search" || is_clean(&arguments), "{sentence:?}: {name} {arguments}");
        if let Ok(operation) = registry().find(&name) {
            prop_assert!(grammar().command(operation, &arguments).is_some());
        }
    }
    Ok(())
}

#[test]
fn a_negation_anywhere_leaves_nothing() {
    let mut wrong = Vec::new();
    for (phrase, ..) in phrases() {
        for negation in NEGATIONS {
            for at in 0..=phrase.split(' ').count() {
                let sentence = with(&phrase, negation, at);
                if let Some((name, arguments)) = read(&sentence)
                    && !(name == "search" && searches(&sentence))
                {
                    wrong.push(format!("{sentence:?}: {name} {arguments}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_is_hostile_never_becomes_a_value() {
    let mut wrong = Vec::new();
    for (phrase, ..) in phrases() {
        for hostile in HOSTILE {
            let inside = (0..=phrase.split(' ').count()).map(|at| with(&phrase, hostile, at));
            for sentence in inside.chain([format!("{phrase}{hostile}"), format!("{hostile}{phrase}")]) {
                if let Some((name, arguments)) = read(&sentence)
                    && !(name == "search" && searches(&sentence))
                {
                    wrong.push(format!("{sentence:?}: {name} {arguments}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_text_is_read_and_always_the_same(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn every_mixture_of_known_words_is_read(words in prop::collection::vec(select(vocabulary()), 0..14)) {
        check(&words.join(" "))?;
    }

    #[test]
    fn a_phrase_with_words_lost_twice_or_exchanged_is_read_and_changes_nothing_it_does_not_name(
        phrase in select(phrases()),
        cut in any::<prop::sample::Index>(),
        twice in any::<prop::sample::Index>(),
        swap in any::<prop::sample::Index>(),
    ) {
        let mut words: Vec<&str> = phrase.0.split(' ').collect();
        let (cut, twice, swap) = (cut.index(words.len()), twice.index(words.len()), swap.index(words.len()));
        words.swap(0, swap);
        let word = words[twice];
        words.insert(twice, word);
        check(&words.join(" "))?;
        words.remove(cut);
        check(&words.join(" "))?;
    }
}
