//! The format of an entry: what is hashed, and in which form metadata is kept. `docs/ledger-format.md`
//! says the same in words; a test keeps the two together.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::canonical;
use crate::hex::hex;

/// What the preimage of every entry begins with, so that no hash of another kind can be taken for one.
pub const TAG: &str = "opdbus-ledger-v1";
/// The same for the digest of the genesis entry.
pub const GENESIS_TAG: &str = "opdbus-ledger-genesis-v1";

/// The genesis entry's operation.
pub const GENESIS_OPERATION: &str = "genesis";
/// The genesis entry's target.
pub const GENESIS_TARGET: &str = "system";
/// The genesis entry's hash: a constant, not a hash of anything.
pub const GENESIS_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The genesis entry's metadata, spaces and all.
pub const GENESIS_METADATA: &str = r#"{"version": "1.0", "deployment": "operation-dbus"}"#;

/// The operation of entry 1, which covers the genesis entry.
pub const INIT_OPERATION: &str = "ledger.init";
/// The member of entry 1's metadata that holds the digest of the genesis entry.
pub const GENESIS_MEMBER: &str = "genesis";

/// The member of entry 1's metadata that tells this ledger from every other.
pub const LEDGER_ID: &str = "ledger_id";

/// The largest integer that every JSON implementation reads exactly.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;
/// How deep metadata may be nested. The object itself is level 1.
pub const MAX_DEPTH: usize = 64;

/// The fields of an entry that its hash covers.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// The entry's number.
    pub id: i64,
    /// When it was appended, in seconds since 1970-01-01T00:00:00Z.
    pub timestamp: i64,
    /// What was done.
    pub operation: &'a str,
    /// To what.
    pub target: &'a str,
    /// The canonical metadata (the genesis entry: its text as it is).
    pub metadata: &'a str,
    /// The hash of the entry before; empty for the genesis entry, which has none.
    pub previous_hash: &'a str,
}

impl Fields<'_> {
    /// Hands on what is hashed, piece by piece.
    fn pieces(&self, tag: &str, mut piece: impl FnMut(&[u8])) {
        let mut field = |text: &str| {
            // With its length before it, no field can lend bytes to its neighbour.
            piece(&(text.len() as u64).to_be_bytes());
            piece(text.as_bytes());
        };
        field(tag);
        field(&self.id.to_string());
        field(&self.timestamp.to_string());
        field(self.operation);
        field(self.target);
        field(self.metadata);
        field(self.previous_hash);
    }

    fn digest(&self, tag: &str) -> String {
        let mut hasher = Sha256::new();
        self.pieces(tag, |piece| hasher.update(piece));
        hex(&hasher.finalize())
    }

    /// What is hashed.
    #[must_use]
    pub fn preimage(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256 + self.metadata.len());
        self.pieces(TAG, |piece| bytes.extend_from_slice(piece));
        bytes
    }

    /// The entry's hash: 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        self.digest(TAG)
    }
}

/// The digest of a genesis entry, by which entry 1 covers it: its own hash is a constant. The columns
/// that the digest leaves out (embedding, previous and current hash) are constants, too.
#[must_use]
pub fn genesis_digest(timestamp: i64) -> String {
    let fields = Fields {
        id: 0,
        timestamp,
        operation: GENESIS_OPERATION,
        target: GENESIS_TARGET,
        metadata: GENESIS_METADATA,
        previous_hash: "",
    };
    fields.digest(GENESIS_TAG)
}

/// Metadata as it is kept and hashed: RFC 8785. The error says what cannot be kept.
pub fn canonical(metadata: &Map<String, Value>) -> Result<String, String> {
    for value in metadata.values() {
        check(value, 2)?;
    }
    serde_json_canonicalizer::to_string(metadata).map_err(|e| e.to_string())
}

/// Whether a text is metadata in the form in which it is kept; the error says why not.
pub fn expect_canonical(text: &str) -> Result<(), String> {
    if canonical::is_certainly(text) {
        return Ok(());
    }
    match canonical_of(text) {
        Ok((_, canonical)) if canonical == text => Ok(()),
        Ok(_) => Err("its metadata is not in canonical form".into()),
        Err(why) => Err(format!("its metadata is wrong: {why}")),
    }
}

/// The canonical form of metadata as it was found; the error says why it cannot be metadata.
pub fn canonical_of(text: &str) -> Result<(Map<String, Value>, String), String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(metadata)) => {
            let text = canonical(&metadata)?;
            Ok((metadata, text))
        }
        Ok(_) => Err("it is not a JSON object".into()),
        Err(error) => Err(format!("it is not JSON ({error})")),
    }
}

fn check(value: &Value, depth: usize) -> Result<(), String> {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        Value::Number(number) => match number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64()) {
            Some(size) if size <= MAX_INTEGER => Ok(()),
            _ => Err(format!("the number {number} is not an integer within ±(2^53-1)")),
        },
        Value::Array(_) | Value::Object(_) if depth > MAX_DEPTH => {
            Err(format!("it is nested more than {MAX_DEPTH} levels deep"))
        }
        Value::Array(items) => items.iter().try_for_each(|item| check(item, depth + 1)),
        Value::Object(members) => members.values().try_for_each(|member| check(member, depth + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields() -> Fields<'static> {
        Fields {
            id: 7,
            timestamp: 1,
            operation: "ab",
            target: "c",
            metadata: "{}",
            previous_hash: GENESIS_HASH,
        }
    }

    #[test]
    fn every_field_is_covered_and_no_byte_can_move_to_its_neighbour() {
        let whole = fields().hash();
        for other in [
            Fields { id: 8, ..fields() },
            Fields { timestamp: -1, ..fields() },
            Fields { operation: "a", target: "bc", ..fields() },
            Fields { target: "d", ..fields() },
            Fields { metadata: "{ }", ..fields() },
            Fields { previous_hash: "", ..fields() },
            Fields { id: 71, timestamp: 1, ..fields() },
        ] {
            assert_ne!(other.hash(), whole, "{other:?}");
        }
    }

    #[test]
    fn metadata_is_kept_in_the_form_of_rfc_8785() {
        let metadata = json!({ "\u{20ac}": "\u{7f}/\"\\\u{8}\u{c}\n\r\t\u{1}é", "a": [1, -2, true, null], "\u{1f600}": 1, "\u{fb33}": 2, "": {} });
        let text = canonical(metadata.as_object().unwrap()).unwrap();
        // Members are ordered by UTF-16 code units: a surrogate (U+1F600) comes before U+FB33.
        assert_eq!(
            text,
            "{\"\":{},\"a\":[1,-2,true,null],\"\u{20ac}\":\"\u{7f}/\\\"\\\\\\b\\f\\n\\r\\t\\u0001é\",\"\u{1f600}\":1,\"\u{fb33}\":2}"
        );
        assert_eq!(canonical_of(&text).unwrap().1, text);
    }

    #[test]
    fn what_implementations_read_differently_is_refused() {
        let max = 9_007_199_254_740_991_i64;
        for good in [json!({ "n": max }), json!({ "n": -max }), json!({ "n": 0 })] {
            canonical(good.as_object().unwrap()).unwrap();
        }
        for bad in [
            json!({ "n": 1.5 }),
            json!({ "n": 1.0 }),
            json!({ "n": max + 1 }),
            json!({ "n": -max - 1 }),
            json!({ "n": [{ "m": u64::MAX }] }),
            json!({ "n": i64::MIN }),
        ] {
            let why = canonical(bad.as_object().unwrap()).unwrap_err();
            assert!(why.contains("2^53"), "{why}");
        }
        for bad in ["[]", "1", "", "{", r#"{"a":-0}"#, r#"{"a":1e2}"#, r#"{"a":"\ud800"}"#] {
            assert!(canonical_of(bad).is_err(), "{bad}");
        }
        assert_ne!(canonical_of(r#"{"a":1,"a":2}"#).unwrap().1, r#"{"a":1,"a":2}"#, "a member twice");
    }

    #[test]
    fn metadata_may_be_nested_to_the_limit_and_is_refused_beyond() {
        let nested = |levels: usize| {
            let inner = (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
            inner.as_object().unwrap().clone()
        };
        let text = canonical(&nested(MAX_DEPTH)).unwrap();
        canonical_of(&text).unwrap();
        assert!(canonical(&nested(MAX_DEPTH + 1)).unwrap_err().contains("64 levels"));
    }
}
