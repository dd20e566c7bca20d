//! Values of D-Bus as JSON. Bytes and numbers are numbers, those beyond what every reader of JSON can hold strings; a
//! dictionary is an object where its keys are strings, else a list of pairs.

use serde_json::{Map, Value, json};
use zbus::wire::Variant;

/// The largest whole number that a double holds exactly, and with it every reader of JSON (RFC 8259, section 6).
const EXACT: u64 = 1 << 53;

/// A value as JSON.
#[must_use]
pub fn json(value: &Variant<'_>) -> Value {
    match value {
        Variant::U8(n) => json!(n),
        Variant::Bool(b) => json!(b),
        Variant::I16(n) => json!(n),
        Variant::U16(n) => json!(n),
        Variant::I32(n) => json!(n),
        Variant::U32(n) => json!(n),
        Variant::I64(n) if n.unsigned_abs() <= EXACT => json!(n),
        Variant::I64(n) => json!(n.to_string()),
        Variant::U64(n) if *n <= EXACT => json!(n),
        Variant::U64(n) => json!(n.to_string()),
        Variant::F64(n) if n.is_finite() => json!(n),
        Variant::F64(n) => json!(n.to_string()),
        Variant::Str(text) => json!(text.as_str()),
        Variant::Signature(signature) => json!(signature.to_string()),
        Variant::ObjectPath(path) => json!(path.as_str()),
        Variant::Variant(inner) => json(inner),
        Variant::Array(array) => array.inner().iter().map(json).collect(),
        Variant::Structure(structure) => structure.fields().iter().map(json).collect(),
        Variant::Dict(dict) => dictionary(dict.iter().map(|(key, value)| (json(key), json(value))).collect()),
        // A file descriptor means something to a process alone.
        Variant::Fd(_) => json!("<file descriptor>"),
    }
}

fn dictionary(pairs: Vec<(Value, Value)>) -> Value {
    if pairs.iter().all(|(key, _)| key.is_string()) {
        let text = |key: Value| key.as_str().map(str::to_owned).unwrap_or_default();
        return Value::Object(
            pairs.into_iter().map(|(key, value)| (text(key), value)).collect::<Map<_, _>>(),
        );
    }
    pairs.into_iter().map(|(key, value)| json!([key, value])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn values_keep_their_meaning_in_json() {
        let of = |value: Variant<'_>| json(&value);
        assert_eq!(of(Variant::U64(u64::MAX)), json!("18446744073709551615"));
        assert_eq!(of(Variant::I64(-5)), json!(-5));
        assert_eq!(of(Variant::F64(f64::INFINITY)), json!("inf"));
        assert_eq!(of(Variant::Variant(Box::new(Variant::Bool(true)))), json!(true));
        assert_eq!(of(Variant::from(vec!["a", "b"])), json!(["a", "b"]));
        assert_eq!(of(Variant::from(HashMap::from([("k", 1_u32)]))), json!({ "k": 1 }));
        assert_eq!(of(Variant::from(HashMap::from([(7_u32, "x")]))), json!([[7, "x"]]));
    }
}
