//! A question as words: in lower case, without the punctuation around them, each with its place in the question.

use std::ops::Range;

/// A word, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

/// What may stand around a word and is no part of it. A colon, a dash or a dot inside of one is.
fn around(c: char) -> bool {
    matches!(
        c,
        '?' | '!' | '.' | ',' | ';' | ':' | '(' | ')' | '"' | '\'' | '“' | '”' | '‘' | '’' | '«' | '»'
    )
}

/// The words of a question.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut begin = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        if !c.is_whitespace() {
            begin.get_or_insert(at);
        } else if let Some(start) = begin.take() {
            let raw = &text[start..at];
            let bare = raw.trim_matches(around);
            if !bare.is_empty() {
                let from = start + (raw.len() - raw.trim_start_matches(around).len());
                found.push(Word { text: bare.to_lowercase(), span: from..from + bare.len() });
            }
        }
    }
    found
}

/// A number, in digits or as a word up to twelve.
pub(super) fn number(word: &str) -> Option<i32> {
    const WORDS: [&str; 12] =
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    if let Some(index) = WORDS.iter().position(|w| *w == word) {
        return i32::try_from(index + 1).ok();
    }
    if word.len() > 5 || !word.bytes().all(|b| b.is_ascii_digit()) { None } else { word.parse().ok() }
}

/// `first` to `fourth`, as 1 to 4.
pub(super) fn ordinal(word: &str) -> Option<i8> {
    ["first", "second", "third", "fourth"]
        .iter()
        .position(|w| *w == word)
        .and_then(|i| i8::try_from(i + 1).ok())
}

/// A day of a month: `3`, `3rd`.
pub(super) fn day_number(word: &str) -> Option<i8> {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|s| word.strip_suffix(s)).unwrap_or(word);
    if digits.is_empty() || digits.len() > 2 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|day| (1..=31).contains(day))
}

/// A year of four digits.
pub(super) fn year(word: &str) -> Option<i16> {
    if word.len() != 4 || !word.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    word.parse().ok().filter(|year| (1970..=2199).contains(year))
}

/// A month by its English name or the first three letters of it.
pub(super) fn month(word: &str) -> Option<i8> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let index = NAMES
        .iter()
        .position(|name| *name == word || (name[..3] == *word) || (word == "sept" && *name == "september"))?;
    i8::try_from(index + 1).ok()
}

/// A day of the week by its English name or the beginning of it; as jiff counts from Monday, 0 to 6.
pub(super) fn weekday(word: &str) -> Option<i8> {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let full = NAMES.iter().position(|name| *name == word);
    let index = full.or_else(|| {
        let short = word.len() >= 3 && !matches!(word, "sat" | "sun" | "wed");
        NAMES.iter().position(|name| short && name.starts_with(word))
    })?;
    i8::try_from(index).ok()
}

/// Forms of verbs that no ending tells, with their stems.
const IRREGULAR: [(&str, &str); 5] =
    [("built", "build"), ("sent", "send"), ("shown", "show"), ("taken", "tak"), ("took", "tak")];

/// The stem of an English word, so that "created", "creating" and "creation" are "create": endings are cut off, and few words
/// are looked up. Names, which have digits or signs in them, are their own stems.
pub(super) fn stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(form, _)| *form == word) {
        return (*stem).to_owned();
    }
    if word.len() < 4 || !word.bytes().all(|b| b.is_ascii_lowercase()) {
        return word.to_owned();
    }
    let has_vowel = |text: &str| text.contains(['a', 'e', 'i', 'o', 'u', 'y']);
    let mut stem = word;
    let singular;
    if let Some(rest) = stem.strip_suffix("ies").filter(|rest| rest.len() > 1) {
        singular = format!("{rest}y");
        stem = &singular;
    } else if let Some(rest) = stem.strip_suffix('s').filter(|rest| !rest.ends_with(['s', 'u', 'i'])) {
        stem = rest;
    }
    for ending in ["ing", "ed", "ion"] {
        let Some(rest) = stem.strip_suffix(ending).filter(|rest| rest.len() >= 3 && has_vowel(rest)) else {
            continue;
        };
        if ending == "ion" && !rest.ends_with(['t', 's']) {
            continue;
        }
        let bytes = rest.as_bytes();
        let doubled =
            bytes[rest.len() - 1] == bytes[rest.len() - 2] && !rest.ends_with(['l', 's', 'z', 'e', 'o']);
        stem = if doubled { &rest[..rest.len() - 1] } else { rest };
        break;
    }
    stem.strip_suffix('e').filter(|rest| rest.len() >= 3).unwrap_or(stem).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn punctuation_goes_and_places_stay() {
        let text = "what “happened” on 2026-03-03, at 10:00?";
        let found = words(text);
        let texts: Vec<&str> = found.iter().map(|w| w.text.as_str()).collect();
        assert_eq!(texts, ["what", "happened", "on", "2026-03-03", "at", "10:00"]);
        assert_eq!(&text[found[1].span.clone()], "happened");
        assert_eq!(&text[found[5].span.clone()], "10:00");
    }

    #[test]
    fn forms_of_a_word_have_one_stem_and_names_are_left() {
        for (stem_of, forms) in [
            ("creat", &["create", "creates", "created", "creating", "creation", "creations"][..]),
            ("delet", &["delete", "deleted", "deletion"]),
            ("stop", &["stop", "stops", "stopped", "stopping"]),
            ("container", &["container", "containers"]),
            ("fail", &["fail", "failed", "failing", "fails"]),
            ("snapshot", &["snapshots"]),
            ("entry", &["entries", "entry"]),
            ("process", &["process", "processed"]),
            ("web-01s", &["web-01s"]),
            ("is", &["is"]),
            ("bus", &["bus"]),
            ("need", &["need", "needed"]),
            ("tak", &["take", "takes", "taking", "took", "taken"]),
            ("build", &["build", "builds", "built", "building"]),
            ("send", &["send", "sent", "sending"]),
            ("show", &["show", "shown", "showed"]),
        ] {
            for form in forms {
                assert_eq!(stem(form), stem_of, "{form}");
            }
        }
    }

    #[test]
    fn words_that_are_something_else_are_no_weekdays() {
        for word in ["sat", "sun", "wed", "fr", "mo", "", "sunset"] {
            assert_eq!(weekday(word), None, "{word}");
        }
        assert_eq!((weekday("tues"), weekday("sunday"), weekday("fri")), (Some(1), Some(6), Some(4)));
    }
}
