//! Two states of a host, from any bytes.

use serde_json::Value;

use super::diff::{How, carry, diff};

/// What differs is where its path says, in both; and nothing differs from itself.
pub(crate) fn differences(data: &[u8]) {
    let mut documents = serde_json::Deserializer::from_slice(data).into_iter::<Value>();
    let (Some(Ok(before)), Some(Ok(after))) = (documents.next(), documents.next()) else { return };
    assert!(diff(&before, &before).is_empty());
    let found = diff(&before, &after);
    assert_eq!(found.is_empty(), before == after);
    let mut kept = before.clone();
    carry(&mut kept, &before, &after);
    assert_eq!(kept, after, "all that became different is carried over");
    for difference in found {
        match difference.change {
            How::Changed => {
                assert_ne!(difference.before, difference.after);
                assert_eq!(after.pointer(&difference.path), difference.after.as_ref());
            }
            How::Added => assert_eq!(after.pointer(&difference.path), difference.after.as_ref()),
            How::Removed => assert_eq!(before.pointer(&difference.path), difference.before.as_ref()),
        }
    }
}
