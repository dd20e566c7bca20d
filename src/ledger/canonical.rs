//! Whether a text is JSON in canonical form, seen in one pass and without keeping anything: most of what a verification
//! of a ledger would otherwise spend its time on.

use super::format::MAX_DEPTH;

/// Whether the text certainly is an object in the form of RFC 8785, as [`super::format::canonical`] writes it. Where this
/// says no, it may be one all the same: what is rare (keys beyond ASCII, numbers of 16 digits, `\u` escapes) is left to
/// the full parser.
pub(super) fn is_certainly(text: &str) -> bool {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0 };
    scan.peek() == Some(b'{') && scan.value(1) && scan.at == text.len()
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn word(&mut self, word: &[u8]) -> bool {
        let there = self.bytes[self.at..].starts_with(word);
        self.at += if there { word.len() } else { 0 };
        there
    }

    fn value(&mut self, depth: usize) -> bool {
        match self.peek() {
            Some(b'"') => self.string().is_some(),
            Some(b'{') => depth <= MAX_DEPTH && self.object(depth),
            Some(b'[') => depth <= MAX_DEPTH && self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => false,
        }
    }

    fn object(&mut self, depth: usize) -> bool {
        self.at += 1;
        if self.take(b'}') {
            return true;
        }
        let mut before: Option<&[u8]> = None;
        loop {
            let Some(key) = self.string() else { return false };
            // Of ASCII, bytes sort as UTF-16 does; with an escape, what is written is not what sorts.
            let plain = key.iter().all(|&b| b.is_ascii() && b != b'\\');
            if !plain
                || before.is_some_and(|before| before >= key)
                || !self.take(b':')
                || !self.value(depth + 1)
            {
                return false;
            }
            before = Some(key);
            if !self.take(b',') {
                return self.take(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize) -> bool {
        self.at += 1;
        if self.take(b']') {
            return true;
        }
        loop {
            if !self.value(depth + 1) {
                return false;
            }
            if !self.take(b',') {
                return self.take(b']');
            }
        }
    }

    /// What stands between the quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        if !self.take(b'"') {
            return None;
        }
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    matches!(self.peek()?, b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't').then_some(())?;
                }
                0..0x20 => return None,
                _ => {}
            }
            self.at += 1;
        }
        self.at += 1;
        Some(&self.bytes[start..self.at - 1])
    }

    fn number(&mut self) -> bool {
        let minus = self.take(b'-');
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        let digits = &self.bytes[start..self.at];
        // 15 digits are within 2^53; a fraction or an exponent is no number that is kept.
        match digits {
            [b'0'] => !minus,
            [] | [b'0', ..] => false,
            _ => digits.len() <= 15,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::format::canonical_of;

    #[test]
    fn the_common_is_told_at_once() {
        for text in [
            "{}",
            r#"{"a":1,"b":-20,"c":0,"d":[true,false,null,"x\n\"\\é"],"e":{"":{}}}"#,
            r#"{"arguments":{"connect":["db-01","web-01"]},"caller":{"uid":0},"n":999999999999999}"#,
        ] {
            assert_eq!(canonical_of(text).unwrap().1, text);
            assert!(is_certainly(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_canonical_never_is() {
        for text in [
            "",
            "[]",
            "1",
            "{",
            "{}x",
            "{ }",
            r#"{"a": 1}"#,
            r#"{"b":1,"a":1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":01}"#,
            r#"{"a":-0}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e2}"#,
            r#"{"a":"\/"}"#,
            r#"{"a":"\u0061"}"#,
            r#"{"a":tru}"#,
            r#"{"a":1,}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":9007199254740993}"#,
            "{\"a\":\"\n\"}",
            r#"{"a"}"#,
            r#"{"a\n":1,"a":1}"#,
        ] {
            assert!(!is_certainly(text), "{text}");
        }
        let deep = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(is_certainly(&deep(MAX_DEPTH)));
        assert!(!is_certainly(&deep(MAX_DEPTH + 1)));
        assert!(canonical_of(&deep(MAX_DEPTH)).is_ok() && canonical_of(&deep(MAX_DEPTH + 1)).is_err());
    }

    proptest! {
        #[test]
        fn what_it_says_yes_to_the_full_parser_writes_the_same(
            text in r#"\{("[ab\\n"é]{0,3}":(-?[0-9]{1,17}|"[a\\nu/0é ]{0,5}"|\[(1,?){0,3}\]|true|\{\}|[0-9]\.0|nul)[,]?){0,4}\}"#
        ) {
            if is_certainly(&text) {
                prop_assert_eq!(canonical_of(&text).unwrap().1, text);
            }
        }
    }
}
