//! What differs between two JSON values, by path (JSON pointers, RFC 6901).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// It was not there.
    Added,
    /// It is there no more.
    Removed,
    /// It is another.
    Changed,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Where: a JSON pointer, of what is removed in the former value, of all else in the present one.
    pub path: String,
    /// How.
    pub change: How,
    /// What was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// The differences of two values, in the order of their paths. Lists are compared from both ends, so that an element put
/// in or taken out is one difference.
#[must_use]
pub fn diff(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

/// A part of a pointer: `~` and `/` have a meaning in it.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => objects(path, old, new, found),
        (Value::Array(old), Value::Array(new)) => lists(path, old, new, found),
        _ if before == after => {}
        _ => found.push(Difference {
            path: path.to_owned(),
            change: How::Changed,
            before: Some(before.clone()),
            after: Some(after.clone()),
        }),
    }
}

fn removed(path: String, before: &Value) -> Difference {
    Difference { path, change: How::Removed, before: Some(before.clone()), after: None }
}

fn added(path: String, after: &Value) -> Difference {
    Difference { path, change: How::Added, before: None, after: Some(after.clone()) }
}

fn objects(path: &str, old: &Map<String, Value>, new: &Map<String, Value>, found: &mut Vec<Difference>) {
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let path = format!("{path}/{}", escaped(key));
        match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) => compare(&path, old, new, found),
            (Some(old), None) => found.push(removed(path, old)),
            (None, Some(new)) => found.push(added(path, new)),
            (None, None) => {}
        }
    }
}

fn lists(path: &str, old: &[Value], new: &[Value], found: &mut Vec<Difference>) {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[start..], &new[start..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    for (at, pair) in old.iter().zip(new).enumerate() {
        compare(&format!("{path}/{}", start + at), pair.0, pair.1, found);
    }
    for (at, old) in old.iter().enumerate().skip(new.len()) {
        found.push(removed(format!("{path}/{}", start + at), old));
    }
    for (at, new) in new.iter().enumerate().skip(old.len()) {
        found.push(added(format!("{path}/{}", start + at), new));
    }
}

/// Carries what became different from `before` to `after` over to `kept`, and leaves the rest of it: what `kept` differed
/// in from `before`, it differs in still. Lists go whole.
pub fn carry(kept: &mut Value, before: &Value, after: &Value) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) if kept.is_object() => {
            let Some(kept) = kept.as_object_mut() else { return };
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                kept.remove(key);
            }
            for (key, new) in new {
                match (old.get(key), kept.get_mut(key)) {
                    (Some(old), _) if old == new => {}
                    (Some(old), Some(kept)) => carry(kept, old, new),
                    _ => {
                        kept.insert(key.clone(), new.clone());
                    }
                }
            }
        }
        _ => *kept = after.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..4_i32).prop_map(Value::from),
            "[ab~/]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[ab~/]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn at<'v>(value: &'v mut Value, path: &str) -> (&'v mut Value, String) {
        let (parent, last) = path.rsplit_once('/').unwrap();
        (value.pointer_mut(parent).unwrap(), last.replace("~1", "/").replace("~0", "~"))
    }

    /// What the differences make of the former value.
    fn patched(before: &Value, differences: &[Difference]) -> Value {
        let mut value = before.clone();
        for d in differences.iter().rev().filter(|d| d.change == How::Removed) {
            match at(&mut value, &d.path) {
                (Value::Array(list), index) => drop(list.remove(index.parse().unwrap())),
                (Value::Object(map), key) => drop(map.remove(&key).unwrap()),
                other => panic!("{other:?}"),
            }
        }
        for d in differences.iter().filter(|d| d.change == How::Changed) {
            *value.pointer_mut(&d.path).unwrap() = d.after.clone().unwrap();
        }
        for d in differences.iter().filter(|d| d.change == How::Added) {
            let after = d.after.clone().unwrap();
            match at(&mut value, &d.path) {
                (Value::Array(list), index) => list.insert(index.parse().unwrap(), after),
                (Value::Object(map), key) => drop(map.insert(key, after)),
                other => panic!("{other:?}"),
            }
        }
        value
    }

    #[test]
    fn one_element_more_or_less_is_one_difference() {
        let paths =
            |a: Value, b: Value| diff(&a, &b).into_iter().map(|d| (d.path, d.change)).collect::<Vec<_>>();
        assert_eq!(paths(json!([1, 2, 3]), json!([1, 3])), [("/1".into(), How::Removed)]);
        assert_eq!(
            paths(json!({"a/b": [1, 3]}), json!({"a/b": [1, 2, 3]})),
            [("/a~1b/1".into(), How::Added)]
        );
        assert_eq!(paths(json!([{"x": 1}, 2]), json!([{"x": 5}, 2])), [("/0/x".into(), How::Changed)]);
    }

    proptest! {
        #[test]
        fn the_differences_make_the_one_into_the_other(before in value(), after in value()) {
            let differences = diff(&before, &after);
            prop_assert_eq!(patched(&before, &differences), after.clone());
            prop_assert_eq!(differences.is_empty(), before == after);
            for d in &differences {
                let (there, said) = match d.change {
                    How::Added => (after.pointer(&d.path), &d.after),
                    How::Removed | How::Changed => (before.pointer(&d.path), &d.before),
                };
                prop_assert_eq!(there, said.as_ref(), "{}", d.path);
            }
        }

        #[test]
        fn what_changed_on_purpose_is_carried_over_and_nothing_else(
            kept in value(), before in value(), after in value(), other in value(),
        ) {
            let mut same = before.clone();
            carry(&mut same, &before, &after);
            prop_assert_eq!(&same, &after, "nothing had drifted");
            let mut unchanged = kept.clone();
            carry(&mut unchanged, &before, &before);
            prop_assert_eq!(&unchanged, &kept, "nothing was changed");
            // What had drifted beside it has drifted still.
            let mut beside = json!({ "changed": before, "drifted": kept });
            carry(
                &mut beside,
                &json!({ "changed": before, "drifted": other }),
                &json!({ "changed": after, "drifted": other }),
            );
            prop_assert_eq!(beside, json!({ "changed": after, "drifted": kept }));
        }
    }
}
