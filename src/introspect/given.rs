//! JSON as values of D-Bus, by the types that a method takes: the other way round of `values.rs`. Nothing is guessed: a
//! number that does not fit its type is refused, and so is a text where a number is wanted, but one of digits alone, as numbers
//! beyond what every reader of JSON holds are written.

use serde_json::{Map, Value};
use zbus::ObjectPath;
use zbus::wire::{Array, Dict, Signature, StructureBuilder, Variant};

/// What a variant is given as, where its type cannot be seen.
const TYPED: &str = "{\"type\": \"u\", \"value\": 5}";

/// A value of a type.
pub(super) fn variant(value: &Value, signature: &Signature) -> Result<Variant<'static>, String> {
    let wrong = || format!("{} is no value of the type {signature}", short(value));
    let text = || value.as_str().map(str::to_owned).ok_or_else(wrong);
    Ok(match signature {
        Signature::U8 => Variant::U8(whole(value).ok_or_else(wrong)?),
        Signature::I16 => Variant::I16(whole(value).ok_or_else(wrong)?),
        Signature::U16 => Variant::U16(whole(value).ok_or_else(wrong)?),
        Signature::I32 => Variant::I32(whole(value).ok_or_else(wrong)?),
        Signature::U32 => Variant::U32(whole(value).ok_or_else(wrong)?),
        Signature::I64 => Variant::I64(whole(value).ok_or_else(wrong)?),
        Signature::U64 => Variant::U64(whole(value).ok_or_else(wrong)?),
        Signature::F64 => Variant::F64(value.as_f64().ok_or_else(wrong)?),
        Signature::Bool => Variant::Bool(value.as_bool().ok_or_else(wrong)?),
        Signature::Str => {
            let text = text()?;
            // D-Bus ends a text with one.
            if text.contains('\0') {
                return Err(wrong());
            }
            Variant::Str(text.into())
        }
        Signature::ObjectPath => Variant::ObjectPath(ObjectPath::try_from(text()?).map_err(|_| wrong())?),
        Signature::Signature => {
            Variant::Signature(Signature::try_from(text()?.as_str()).map_err(|_| wrong())?)
        }
        Signature::Variant => Variant::Variant(Box::new(typed(value)?)),
        Signature::Array(of) => {
            let of = of.signature();
            let mut array = Array::new(of);
            for element in value.as_array().ok_or_else(wrong)? {
                array.append(variant(element, of)?).map_err(|_| wrong())?;
            }
            Variant::Array(array)
        }
        Signature::Dict { key, value: of } => {
            let (key, of) = (key.signature(), of.signature());
            let mut dict = Dict::new(key, of);
            for (k, v) in pairs(value).ok_or_else(wrong)? {
                dict.append(variant(&k, key)?, variant(v, of)?).map_err(|_| wrong())?;
            }
            Variant::Dict(dict)
        }
        Signature::Structure(fields) => {
            let values =
                value.as_array().filter(|values| values.len() == fields.iter().count()).ok_or_else(wrong)?;
            let mut structure = StructureBuilder::new();
            for (value, field) in values.iter().zip(fields.iter()) {
                structure.push_value(variant(value, field)?);
            }
            Variant::Structure(structure.build().map_err(|_| wrong())?)
        }
        Signature::Fd => return Err("a file descriptor cannot be given".into()),
        Signature::Unit => return Err(wrong()),
    })
}

/// A whole number, as a number or as digits.
fn whole<T: TryFrom<i128>>(value: &Value) -> Option<T> {
    let number = match value {
        Value::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    };
    number.and_then(|number| T::try_from(number).ok())
}

/// What is in a variant: a text or a truth value as it is, anything else with its type.
fn typed(value: &Value) -> Result<Variant<'static>, String> {
    let wrong = || format!("{} has no type: what is in a variant is given as {TYPED}", short(value));
    match value {
        Value::String(_) => variant(value, &Signature::Str),
        Value::Bool(_) => variant(value, &Signature::Bool),
        Value::Object(map) if map.len() == 2 => {
            let (Some(Value::String(kind)), Some(value)) = (map.get("type"), map.get("value")) else {
                return Err(wrong());
            };
            variant(value, &Signature::try_from(kind.as_str()).map_err(|_| wrong())?)
        }
        _ => Err(wrong()),
    }
}

/// The entries of a dictionary: an object's, or those of a list of pairs.
fn pairs(value: &Value) -> Option<Vec<(Value, &Value)>> {
    let of = |map: &Map<String, Value>| -> Vec<Value> {
        map.keys().map(|key| Value::String(key.clone())).collect()
    };
    match value {
        Value::Object(map) => Some(of(map).into_iter().zip(map.values()).collect()),
        Value::Array(list) => list
            .iter()
            .map(|pair| match pair.as_array().map(Vec::as_slice) {
                Some([key, value]) => Some((key.clone(), value)),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 { text.chars().take(60).chain(['…']).collect() } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::values::json;
    use super::*;
    use serde_json::json;

    fn of(value: &Value, kind: &str) -> Result<Variant<'static>, String> {
        variant(value, &Signature::try_from(kind).unwrap())
    }

    #[test]
    fn a_value_is_made_as_its_type_wants_it_and_read_back_as_it_was() {
        for (value, kind) in [
            (json!(255), "y"),
            (json!(true), "b"),
            (json!(-32768), "n"),
            (json!(65535), "q"),
            (json!(-1), "i"),
            (json!(4_294_967_295_u32), "u"),
            (json!("-9223372036854775808"), "x"),
            (json!("18446744073709551615"), "t"),
            (json!(0.5), "d"),
            (json!("é"), "s"),
            (json!("/org/x"), "o"),
            (json!("a{sv}"), "g"),
            (json!([]), "as"),
            (json!([[1, "a"], [2, "b"]]), "a(us)"),
            (json!({ "a": 1 }), "a{su}"),
            (json!([[7, "x"]]), "a{us}"),
            (json!({ "a": [1, 2] }), "a{say}"),
            (json!({ "a": "x", "b": false }), "a{sv}"),
        ] {
            let made = of(&value, kind).unwrap_or_else(|error| panic!("{value} {kind}: {error}"));
            assert_eq!(made.value_signature().to_string(), kind);
            assert_eq!(json(&made), value, "{kind}");
        }
        let made = of(&json!({ "a": { "type": "ai", "value": [1] } }), "a{sv}").unwrap();
        assert_eq!(json(&made), json!({ "a": [1] }));
        assert_eq!(json(&of(&json!("12"), "u").unwrap()), json!(12));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (value, kind) in [
            (json!(256), "y"),
            (json!(-1), "u"),
            (json!(1.5), "i"),
            (json!("x"), "i"),
            (json!("1"), "b"),
            (json!(1), "b"),
            (json!(null), "s"),
            (json!("a\0b"), "s"),
            (json!("x"), "o"),
            (json!("zz"), "g"),
            (json!("x"), "as"),
            (json!([1]), "as"),
            (json!([1]), "(is)"),
            (json!([1, "a", 2]), "(is)"),
            (json!({ "a": "x" }), "a{su}"),
            (json!([[1]]), "a{us}"),
            (json!(5), "v"),
            (json!({ "type": "u", "value": -5 }), "v"),
            (json!({ "type": "", "value": 5 }), "v"),
            (json!({ "type": "u" }), "v"),
            (json!(0), "h"),
        ] {
            assert!(of(&value, kind).is_err(), "{value} {kind}");
        }
    }
}
