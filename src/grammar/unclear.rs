//! What is said where a sentence means nothing.

use std::fmt;

use crate::ops::Operation;

/// Why a sentence means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// There is no word in it.
    Empty,
    /// It is longer than anything that is understood.
    TooLong,
    /// It has this character, which does not show, or changes how others do.
    Hidden(char),
    /// A word of it is not understood.
    Unknown,
    /// Every word is understood, and something is missing.
    Unfinished,
    /// It means several things.
    Ambiguous,
    /// It is an order that ends with a question mark.
    Doubtful,
    /// It is understood, and the operation does not take it: a value that is out of range, a dry run that there is none of.
    Refused,
}

/// A sentence that means nothing, and what might have been meant.
#[derive(Debug, Clone)]
pub struct Unclear<'g> {
    /// Why it means nothing.
    pub why: Why,
    /// What was understood: the beginning of the sentence.
    pub understood: String,
    /// What was not: the rest of it. Of a sentence that cannot be read at all, its beginning, escaped.
    pub unknown: String,
    /// The operations that come nearest, three at most, the nearest first.
    pub nearest: Vec<Suggestion<'g>>,
}

/// An operation and a phrase that asks for it.
#[derive(Debug, Clone, Copy)]
pub struct Suggestion<'g> {
    /// The operation.
    pub operation: &'g Operation,
    /// The phrase.
    pub example: &'g str,
}

impl fmt::Display for Unclear<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { why, understood, unknown, .. } = self;
        match why {
            Why::Empty => f.write_str("nothing was asked for"),
            Why::TooLong => f.write_str("that is longer than anything that is understood here"),
            Why::Hidden(c) => {
                write!(f, "there is a character in it that does not show: U+{:04X}", u32::from(*c))
            }
            Why::Unknown if understood.is_empty() => write!(f, "\"{unknown}\" is not understood"),
            Why::Unknown => write!(f, "\"{understood}\" is understood, \"{unknown}\" is not"),
            Why::Unfinished => write!(f, "something is missing after \"{understood}\""),
            Why::Ambiguous => write!(f, "\"{understood}\" means more than one thing"),
            Why::Doubtful => {
                write!(f, "a question mark leaves it open whether \"{understood}\" is to be done")
            }
            Why::Refused => write!(f, "\"{understood}\" is understood, and cannot be done like that"),
        }
    }
}
