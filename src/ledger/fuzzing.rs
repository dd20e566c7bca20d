//! What a ledger, its checkpoints and its reader hold, from any bytes.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::checkpoint::{Checkpoint, origin, split};
use super::format::{MAX_DEPTH, canonical, canonical_of, expect_canonical};
use super::note::{NoteSigner, Verifier, open};
use super::text::{point, shown};

/// Metadata: its canonical form is that of RFC 8785, is its own canonical form, and means what the text meant.
pub(crate) fn metadata(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // What is seen in one pass is what the full parser says.
    let kept = canonical_of(text).is_ok_and(|(_, form)| form == text);
    assert_eq!(expect_canonical(text).is_ok(), kept);
    let Ok((found, form)) = canonical_of(text) else { return };
    assert_eq!(canonical(&found).as_ref(), Ok(&form));
    let again = canonical_of(&form);
    assert_eq!(again.as_ref(), Ok(&(found.clone(), form.clone())));
    let value = Value::Object(found);
    assert_eq!(serde_json::from_str(text).ok().as_ref(), Some(&value));
    assert_eq!(form, written(&value));
    assert!(depth(&value) <= MAX_DEPTH);
}

/// RFC 8785 for what metadata may be, written apart from what is used: members by their names in UTF-16.
fn written(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
            let members = members
                .iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), written(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Notes, keys and checkpoints: what is accepted is what was signed; a file of checkpoints is taken apart where they end.
pub(crate) fn notes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(signer) = NoteSigner::new(&origin("00ff"), [1; 32]) else { return };
    let Some(stranger) = NoteSigner::new(&origin("00ff"), [2; 32]) else { return };
    let own = signer.verifier();
    if let Ok(opened) = open(text, &own) {
        assert!(text.starts_with(opened) && opened.ends_with('\n'));
        let sealed = signer.sign(opened);
        assert_eq!(open(&sealed, &own), Ok(opened));
    }
    if let Ok(key) = text.parse::<Verifier>() {
        assert_eq!(key.to_string().parse().as_ref(), Ok(&key));
        assert_eq!(key.to_string(), text.trim());
    }
    if let Ok(key) = NoteSigner::read(text) {
        assert_eq!(key.secret(), text.trim());
    }
    // The text, signed: opened where a note can hold it, by its own key alone.
    let sealed = signer.sign(text);
    if let Ok(opened) = open(&sealed, &own) {
        assert_eq!(opened, text);
    } else {
        let plain = text.ends_with('\n') && !text.contains(|c: char| c.is_control() && c != '\n');
        assert!(!plain || sealed.len() > 64 << 10, "a note is not read back");
    }
    assert!(open(&sealed, &stranger.verifier()).is_err());
    if let Ok(checkpoint) = Checkpoint::open(&sealed, &own) {
        assert!(text.starts_with(&checkpoint.text()), "another text of the same checkpoint");
        let alone = checkpoint.sign(&signer);
        assert_eq!(Checkpoint::open(&alone, &own).as_ref(), Ok(&checkpoint));
        let file = format!("{alone}{alone}\n{alone}");
        assert_eq!(split(&file), [&*alone; 3]);
    }
    let parts = split(text);
    assert!(parts.iter().map(|part| part.len()).sum::<usize>() <= text.len());
    assert_eq!(parts.is_empty(), text.trim().is_empty());
}

/// Points in time: a date covers its day, a point is read as it is shown, and what is shown obeys no escape sequence.
pub(crate) fn times(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let zones = [TimeZone::UTC, TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC)];
    for zone in zones {
        let (first, last) = (point(text, false, &zone), point(text, true, &zone));
        assert!(first.is_err() || last.is_ok(), "{text:?}");
        let (Ok(first), Ok(last)) = (first, last) else { continue };
        assert!(first == last || (first..first + 26 * 3600).contains(&last), "{text:?}: {first} to {last}");
        let Ok(instant) = Timestamp::from_second(first) else { continue };
        assert_eq!(point(&instant.to_string(), false, &zone), Ok(first), "{instant}");
    }
    let line = shown(text, 40);
    assert!(line.chars().count() <= 40 && !line.contains(char::is_control));
}
