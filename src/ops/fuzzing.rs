//! What callers give to operations, from any bytes. Arguments are read; nothing is run.

use serde_json::Value;

use super::registry::Registry;

/// JSON as the doors take it, for every operation: refused, or read; and what was read is, written and read, the same.
pub(crate) fn arguments(data: &[u8]) {
    let Ok(arguments) = serde_json::from_slice::<Value>(data) else { return };
    for operation in Registry::default().iter() {
        let target = (operation.target)(&arguments);
        let read = (operation.again)(arguments.clone());
        assert_eq!(target.is_ok(), read.is_ok(), "{}", operation.name);
        let (Ok(target), Ok(read)) = (target, read) else { continue };
        assert_eq!((operation.target)(&read).as_ref(), Ok(&target), "{}", operation.name);
        assert_eq!((operation.again)(read.clone()), Ok(read), "{}", operation.name);
    }
}

/// A command line: an operation's name, and words, a line each. What the command line lets pass is what the doors take.
pub(crate) fn command_line(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut words = text.lines();
    let registry = Registry::default();
    let Ok(operation) = registry.find(words.next().unwrap_or_default()) else { return };
    let Ok(matches) = operation.command().try_get_matches_from(["op-dbus"].into_iter().chain(words)) else {
        return;
    };
    let Ok(arguments) = operation.arguments(&matches) else { return };
    assert_eq!((operation.again)(arguments.clone()), Ok(arguments), "{}", operation.name);
}
