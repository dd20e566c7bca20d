//! A sentence as it was typed, cut into words.

use std::ops::Range;

/// The longest sentence that is read, in bytes.
pub const LONGEST: usize = 4096;

/// The most words that are read; the longest phrases have about twenty.
const MOST_WORDS: usize = 128;

/// Quotation marks: what opens, and what closes it.
const QUOTES: [(char, char); 4] = [('"', '"'), ('\'', '\''), ('“', '”'), ('‘', '’')];

/// A word, or a comma or colon at the end of one, or the `'s` of a possessive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word<'s> {
    /// As it was typed, without quotation marks around it.
    pub(super) text: &'s str,
    /// As patterns have it: lower case, the apostrophe straight.
    pub(super) folded: String,
    /// Where it lies in the sentence, its quotation marks included.
    pub(super) span: Range<usize>,
    /// Whether there are quotation marks around it: then it is a name, and no word of a pattern.
    pub(super) quoted: bool,
}

/// A sentence that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sentence<'s> {
    /// All of it, without white space around it.
    pub(super) text: &'s str,
    /// Its words, without the mark at its end.
    pub(super) words: Vec<Word<'s>>,
    /// Where the mark at its end begins.
    pub(super) end: usize,
    /// Whether that is a question mark.
    pub(super) asks: bool,
}

/// Why a sentence is not read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// There is no word in it.
    Empty,
    /// It is longer than anything that is understood.
    TooLong,
    /// It has a character that does not show, or that changes how others show.
    Hidden(char),
}

/// Whether a character does not show or changes how others do: what is run would not be what was seen.
fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{e000}'..='\u{f8ff}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

/// A word as patterns have it.
pub(super) fn fold(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '’' | '‘') { '\'' } else { c.to_ascii_lowercase() }).collect()
}

impl<'s> Sentence<'s> {
    /// Cuts what was typed.
    pub(super) fn new(typed: &'s str) -> Result<Self, Unfit> {
        if typed.len() > LONGEST {
            return Err(Unfit::TooLong);
        }
        if let Some(hidden) = typed.chars().find(|c| is_hidden(*c)) {
            return Err(Unfit::Hidden(hidden));
        }
        let text = typed.trim();
        let body = without_mark(text);
        let asks = text[body.len()..].contains('?');
        let body = body.trim_end();
        let mut words = Vec::new();
        let mut from = 0;
        while let Some(begin) = body[from..].find(|c: char| !c.is_whitespace()).map(|at| from + at) {
            let end = body[begin..].find(char::is_whitespace).map_or(body.len(), |at| begin + at);
            cut(body, begin..end, &mut words);
            from = end;
            if words.len() > MOST_WORDS {
                return Err(Unfit::TooLong);
            }
        }
        if words.is_empty() { Err(Unfit::Empty) } else { Ok(Self { text, words, end: body.len(), asks }) }
    }

    /// The sentence up to a word, and from it on.
    pub(super) fn halves(&self, at: usize) -> (&'s str, &'s str) {
        let from = self.words.get(at).map_or(self.text.len(), |word| word.span.start);
        (self.text[..from].trim_end(), &self.text[from..])
    }
}

/// The text without the mark at its end: question and exclamation marks, or one full stop. Three dots are hesitation.
fn without_mark(text: &str) -> &str {
    let body = text.trim_end_matches(['!', '?']);
    match body.strip_suffix('.') {
        Some(stopped) if body.len() == text.len() && !stopped.ends_with('.') => stopped,
        _ => body,
    }
}

/// The words that a word of a pattern is cut into, as one of a sentence is.
pub(super) fn parts(word: &str) -> impl Iterator<Item = String> {
    let mut words = Vec::new();
    cut(word, 0..word.len(), &mut words);
    words.into_iter().map(|word| word.folded)
}

/// Cuts what is between white space: a comma or colon from its end, then `'s`.
fn cut<'s>(body: &'s str, span: Range<usize>, words: &mut Vec<Word<'s>>) {
    let text = &body[span.clone()];
    let word = |from: usize, to: usize| {
        let text = &text[from..to];
        let inner = unquoted(text);
        Word {
            text: inner.unwrap_or(text),
            folded: fold(inner.unwrap_or(text)),
            span: span.start + from..span.start + to,
            quoted: inner.is_some(),
        }
    };
    let stem = if text.len() > 1 { text.strip_suffix([',', ':']).unwrap_or(text) } else { text };
    let owner = ["'s", "’s"].iter().find_map(|s| stem.strip_suffix(s)).filter(|owner| !owner.is_empty());
    match owner {
        Some(owner) => words.extend([word(0, owner.len()), word(owner.len(), stem.len())]),
        None => words.push(word(0, stem.len())),
    }
    if stem.len() < text.len() {
        words.push(word(stem.len(), text.len()));
    }
}

/// What is between a pair of quotation marks.
pub(super) fn unquoted(text: &str) -> Option<&str> {
    QUOTES.iter().find_map(|(open, close)| {
        let inner = text.strip_prefix(*open)?.strip_suffix(*close)?;
        let marks = |c: char| QUOTES.iter().any(|(open, close)| c == *open || c == *close);
        (!inner.is_empty() && !inner.contains(marks)).then_some(inner)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Sentence::new(text).unwrap().words.into_iter().map(|word| word.folded).collect()
    }

    #[test]
    fn a_sentence_is_cut_at_white_space_commas_and_possessives() {
        assert_eq!(
            words("Show  me\u{a0}web-01’s LOGS, please."),
            ["show", "me", "web-01", "'s", "logs", ",", "please"]
        );
        assert_eq!(words("dry run: x --a=b:c"), ["dry", "run", ":", "x", "--a=b:c"]);
        assert_eq!(words("don’t"), ["don't"]);
    }

    #[test]
    fn names_keep_their_case_and_lose_their_quotation_marks() {
        let sentence = Sentence::new("create “Web-06” 'b' \"c d\"").unwrap();
        let found: Vec<_> = sentence.words.iter().map(|word| (word.text, word.quoted)).collect();
        assert_eq!(found, [("create", false), ("Web-06", true), ("b", true), ("\"c", false), ("d\"", false)]);
    }

    #[test]
    fn the_mark_at_the_end_is_none_of_its_last_word() {
        for (text, last, asks) in
            [("a b?", "b", true), ("a b!!", "b", false), ("a b .", "b", false), ("a b..", "b..", false)]
        {
            let sentence = Sentence::new(text).unwrap();
            assert_eq!((sentence.words[1].text, sentence.asks), (last, asks), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_not_read() {
        for text in ["a\nb", "a\u{202e}b", "a\u{200b}", "a\0", "\u{feff}a", "a\u{2028}b", "a\u{e0041}"] {
            assert!(matches!(Sentence::new(text), Err(Unfit::Hidden(_))), "{text:?}");
        }
        for text in ["", " \u{a0}", "???", "!!!", "."] {
            assert_eq!(Sentence::new(text), Err(Unfit::Empty), "{text:?}");
        }
        assert_eq!(Sentence::new(&"a ".repeat(200)), Err(Unfit::TooLong));
        assert_eq!(Sentence::new(&"a".repeat(1 << 20)), Err(Unfit::TooLong));
    }

    #[test]
    fn a_sentence_is_halved_at_a_word() {
        let sentence = Sentence::new("delete  it now!").unwrap();
        assert_eq!(sentence.halves(1), ("delete", "it now!"));
        assert_eq!(sentence.halves(0), ("", "delete  it now!"));
        assert_eq!(sentence.halves(3), ("delete  it now!", ""));
    }
}
