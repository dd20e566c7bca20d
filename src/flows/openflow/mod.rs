//! The bridge spoken to directly: OpenFlow 1.4 over its management socket, so that a container's flows cost no
//! process. Messages as in ONF TS-012 (version 1.4), section 7.

mod bytes;
mod codec;
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::flows) mod fuzzing;

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use bytes::{Reader, Writer};

use super::model::{COOKIE, COOKIE_MASK};
use super::rule::{Action, Flow, Key, Match};

/// OpenFlow 1.4, the first with bundles.
const VERSION: u8 = 5;
/// The switch answers in well under a millisecond; one that has not after this long is stuck.
const TIME_LIMIT: Duration = Duration::from_secs(10);

const HELLO: u8 = 0;
const ERROR: u8 = 1;
const ECHO_REQUEST: u8 = 2;
const ECHO_REPLY: u8 = 3;
const FLOW_MOD: u8 = 14;
const MULTIPART_REQUEST: u8 = 18;
const MULTIPART_REPLY: u8 = 19;
const BUNDLE_CONTROL: u8 = 33;
const BUNDLE_ADD: u8 = 34;

const HEADER: usize = 8;
const OFPMP_FLOW: u16 = 1;
const ALL_TABLES: u8 = 0xff;
const OFPFC_ADD: u8 = 0;
const OFPFC_DELETE_STRICT: u8 = 4;
const NO_BUFFER: u32 = 0xffff_ffff;
const OPEN: u16 = 0;
const COMMIT: u16 = 4;
/// All or nothing, and in the order given.
const ATOMIC_ORDERED: u16 = 3;
/// One bundle a connection, so any number does.
const BUNDLE: u32 = 1;

/// Why the switch did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum OpenFlowError {
    /// The connection broke or timed out.
    #[error("the connection to the bridge broke")]
    Io(#[from] std::io::Error),
    /// It said something that OpenFlow 1.4 does not have.
    #[error("the bridge gave an answer that cannot be read: {0}")]
    Protocol(&'static str),
    /// It refused a message; nothing of the bundle was done.
    #[error("the bridge refused {what}: OpenFlow error type {kind}, code {code}")]
    Refused {
        /// The message.
        what: String,
        /// The error's type (`enum ofp_error_type`).
        kind: u16,
        /// Its code.
        code: u16,
    },
}

/// A flow as the switch has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) table: u8,
    pub(super) priority: u16,
    pub(super) cookie: u64,
    /// Whether it has a time limit, flags or an importance; ours have none.
    pub(super) special: bool,
    /// Its match; `None` where it has a field that ours never have.
    pub(super) matches: Option<Match>,
    /// What it does; `None` where ours never do that.
    pub(super) actions: Option<Vec<Action>>,
    /// Its match as the switch wrote it, padded.
    raw: Vec<u8>,
}

impl Found {
    /// Whether it carries our cookie.
    pub(super) fn is_ours(&self) -> bool {
        self.cookie & COOKIE_MASK == COOKIE & COOKIE_MASK
    }

    /// One that matches everything and drops it.
    #[cfg(test)]
    pub(super) fn example(cookie: u64) -> Self {
        let (matches, actions) = (Some(Match::default()), Some(Vec::new()));
        Self { table: 0, priority: 1, cookie, special: false, matches, actions, raw: Vec::new() }
    }

    /// Where it is, if one of ours could be there.
    pub(super) fn key(&self) -> Option<Key> {
        let matches = self.matches.clone()?;
        Some(Key { table: self.table, priority: self.priority, matches })
    }
}

/// A change to the flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Modification {
    /// Puts a flow of ours in its place, whatever is there.
    Add(Flow),
    /// Takes a flow of ours away; one of others in its place stays.
    Remove(Key),
    /// Takes away a flow that has our cookie and is none that we make.
    RemoveFound(Found),
}

impl std::fmt::Display for Modification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Add(flow) => write!(f, "add {flow}"),
            Self::Remove(key) => write!(f, "remove {key}"),
            Self::RemoveFound(found) => match found.key() {
                Some(key) => write!(f, "remove {key}"),
                None => write!(f, "remove a flow in table {}, priority {}", found.table, found.priority),
            },
        }
    }
}

/// A connection to a bridge.
#[derive(Debug)]
pub(super) struct Connection {
    stream: BufReader<UnixStream>,
    next: u32,
}

struct Message {
    kind: u8,
    id: u32,
    body: Vec<u8>,
}

impl Connection {
    /// Connects to a bridge by its management socket.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(TIME_LIMIT))?;
        stream.set_write_timeout(Some(TIME_LIMIT))?;
        let mut connection = Self { stream: BufReader::with_capacity(1 << 16, stream), next: 1 };
        let hello = connection.message(HELLO, |_| {});
        connection.send(&hello.1)?;
        Ok(connection)
    }

    /// A message, with its number.
    fn message(&mut self, kind: u8, body: impl FnOnce(&mut Writer)) -> (u32, Vec<u8>) {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        (id, encode(kind, id, body))
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The next message that is an answer.
    fn receive(&mut self) -> Result<Message, OpenFlowError> {
        loop {
            let mut header = [0; HEADER];
            self.stream.read_exact(&mut header)?;
            let mut from = Reader(&header);
            let header = (from.u8(), from.u8(), from.u16(), from.u32());
            let (Some(version), Some(kind), Some(length), Some(id)) = header else {
                return Err(OpenFlowError::Protocol("a message without a header"));
            };
            let Some(length) = usize::from(length).checked_sub(HEADER) else {
                return Err(OpenFlowError::Protocol("a message shorter than its header"));
            };
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body)?;
            match kind {
                HELLO => {}
                // The switch asks whether we are still there.
                ECHO_REQUEST => {
                    let reply = encode(ECHO_REPLY, id, |to| {
                        to.bytes(&body);
                    });
                    self.send(&reply)?;
                }
                _ if version != VERSION => return Err(OpenFlowError::Protocol("not OpenFlow 1.4")),
                MULTIPART_REPLY | BUNDLE_CONTROL | ERROR => return Ok(Message { kind, id, body }),
                // A message that nobody asked for: a port came or went.
                _ => {}
            }
        }
    }

    /// The flows that one of `filters` covers: those in its table (all tables without one) that match at least what
    /// it says. Asked for at once, answered in any order.
    pub(super) fn flows(&mut self, filters: &[(Option<u8>, Match)]) -> Result<Vec<Found>, OpenFlowError> {
        let mut bytes = Vec::new();
        for (table, matches) in filters {
            let (_, message) = self.message(MULTIPART_REQUEST, |to| {
                to.u16(OFPMP_FLOW).u16(0).zeros(4);
                to.u8(table.unwrap_or(ALL_TABLES)).zeros(3).u32(codec::ANY).u32(codec::ANY).zeros(4);
                // Whatever the cookie.
                to.u64(0).u64(0);
                codec::write_match(to, matches);
            });
            bytes.extend(message);
        }
        self.send(&bytes)?;
        let mut found = Vec::new();
        let mut open = filters.len();
        while open > 0 {
            let message = self.receive()?;
            match message.kind {
                MULTIPART_REPLY => {
                    let more = read_flows(&message.body, &mut found)
                        .ok_or(OpenFlowError::Protocol("flows that end in the middle"))?;
                    open -= usize::from(!more);
                }
                ERROR => return Err(refusal(&message.body, "to list its flows")),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Makes the changes, all of them or none.
    pub(super) fn bundle(&mut self, changes: &[Modification]) -> Result<(), OpenFlowError> {
        if changes.is_empty() {
            return Ok(());
        }
        let control = |kind| {
            move |to: &mut Writer| {
                to.u32(BUNDLE).u16(kind).u16(ATOMIC_ORDERED);
            }
        };
        let (_, mut bytes) = self.message(BUNDLE_CONTROL, control(OPEN));
        let first = self.next;
        for change in changes {
            let id = self.next;
            let (_, message) = self.message(BUNDLE_ADD, |to| {
                to.u32(BUNDLE).zeros(2).u16(ATOMIC_ORDERED);
                to.bytes(&encode(FLOW_MOD, id, |to| write_modification(to, change)));
            });
            bytes.extend(message);
        }
        let (last, message) = self.message(BUNDLE_CONTROL, control(COMMIT));
        bytes.extend(message);
        self.send(&bytes)?;
        // The first refusal is the reason; that the bundle as a whole then fails is said at its end.
        let mut refused = None;
        loop {
            let message = self.receive()?;
            if message.kind == ERROR && refused.is_none() {
                let change =
                    usize::try_from(message.id.wrapping_sub(first)).ok().and_then(|i| changes.get(i));
                let what = change.map_or_else(|| "a bundle of flows".to_owned(), |c| format!("to {c}"));
                refused = Some(refusal(&message.body, &what));
            }
            if message.id == last {
                return refused.map_or(Ok(()), Err);
            }
        }
    }
}

fn encode(kind: u8, id: u32, body: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut to = Writer::default();
    to.u8(VERSION).u8(kind).u16(0).u32(id);
    body(&mut to);
    to.close(0, 2);
    to.0
}

fn refusal(body: &[u8], what: &str) -> OpenFlowError {
    let mut from = Reader(body);
    match (from.u16(), from.u16()) {
        (Some(kind), Some(code)) => OpenFlowError::Refused { what: what.to_owned(), kind, code },
        _ => OpenFlowError::Protocol("an error without a type"),
    }
}

/// `struct ofp_flow_mod`.
fn write_modification(to: &mut Writer, change: &Modification) {
    let (table, priority, command, mask) = match change {
        Modification::Add(Flow { key, .. }) => (key.table, key.priority, OFPFC_ADD, 0),
        Modification::Remove(key) => (key.table, key.priority, OFPFC_DELETE_STRICT, COOKIE_MASK),
        Modification::RemoveFound(found) => (found.table, found.priority, OFPFC_DELETE_STRICT, COOKIE_MASK),
    };
    to.u64(COOKIE).u64(mask).u8(table).u8(command);
    // No time limits, no packet kept, no flags, no importance.
    to.u16(0).u16(0).u16(priority).u32(NO_BUFFER).u32(codec::ANY).u32(codec::ANY).u16(0).u16(0);
    match change {
        Modification::Add(Flow { key, actions }) => {
            codec::write_match(to, &key.matches);
            codec::write_instructions(to, actions);
        }
        Modification::Remove(key) => codec::write_match(to, &key.matches),
        Modification::RemoveFound(found) => {
            to.bytes(&found.raw);
        }
    }
}

/// Reads the flows of one multipart reply, and says whether more replies follow.
fn read_flows(body: &[u8], into: &mut Vec<Found>) -> Option<bool> {
    let mut from = Reader(body);
    let (kind, flags) = (from.u16()?, from.u16()?);
    from.take(4)?;
    while kind == OFPMP_FLOW && !from.is_empty() {
        let length = usize::from(from.u16()?);
        into.push(read_flow(from.take(length.checked_sub(2)?)?)?);
    }
    Some(flags & 1 != 0)
}

/// `struct ofp_flow_stats` after its length.
fn read_flow(bytes: &[u8]) -> Option<Found> {
    let mut from = Reader(bytes);
    let table = from.u8()?;
    // Padding, and how long it has been there.
    from.take(1 + 4 + 4)?;
    let priority = from.u16()?;
    let special = from.take(2 + 2 + 2 + 2)?.iter().any(|byte| *byte != 0);
    from.take(2)?;
    let cookie = from.u64()?;
    // Packets and bytes.
    from.take(16)?;
    let start = from;
    let (_, length) = (from.u16()?, usize::from(from.u16()?));
    let fields = from.take(length.checked_sub(4)?)?;
    let padded = length.next_multiple_of(8);
    from.take(padded - length)?;
    let raw = start.0.get(..padded)?.to_vec();
    let matches = codec::read_match(fields);
    let actions = codec::read_instructions(from.0);
    Some(Found { table, priority, cookie, special, matches, actions, raw })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A switch that says the given bytes after the first request, and ends.
    fn says(answer: Vec<u8>) -> Result<Vec<Found>, OpenFlowError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mgmt");
        let listener = UnixListener::bind(&path).unwrap();
        let switch = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The greeting, and the request for all flows.
            stream.read_exact(&mut [0; HEADER + HEADER + 8 + 32 + 8]).unwrap();
            stream.write_all(&answer).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = stream.read(&mut [0; 4096]);
        });
        let result = Connection::open(&path).unwrap().flows(&[(None, Match::default())]);
        switch.join().unwrap();
        result
    }

    #[test]
    fn what_nobody_asked_for_is_passed_over() {
        const PORT_STATUS: u8 = 12;
        let mut bytes = encode(HELLO, 9, |_| {});
        bytes.extend(encode(ECHO_REQUEST, 10, |_| {}));
        bytes.extend(encode(PORT_STATUS, 0, |to| {
            to.zeros(40);
        }));
        bytes.extend(encode(MULTIPART_REPLY, 2, |to| {
            to.u16(OFPMP_FLOW).u16(0).zeros(4);
        }));
        assert_eq!(says(bytes).unwrap(), []);
    }

    #[test]
    fn a_refusal_and_a_broken_answer_are_errors() {
        let refused = says(encode(ERROR, 2, |to| {
            to.u16(1).u16(6);
        }));
        let text = refused.unwrap_err().to_string();
        assert_eq!(text, "the bridge refused to list its flows: OpenFlow error type 1, code 6");
        let cut = encode(MULTIPART_REPLY, 2, |to| {
            to.u16(OFPMP_FLOW).u16(0).zeros(4).u16(60).zeros(20);
        });
        assert!(matches!(says(cut.clone()).unwrap_err(), OpenFlowError::Protocol(_)));
        assert!(matches!(says(cut[..12].to_vec()).unwrap_err(), OpenFlowError::Io(_)));
        assert!(matches!(
            says(vec![VERSION, ERROR, 0, 3, 0, 0, 0, 0]).unwrap_err(),
            OpenFlowError::Protocol(_)
        ));
        assert!(matches!(says(vec![1, ERROR, 0, 8, 0, 0, 0, 0]).unwrap_err(), OpenFlowError::Protocol(_)));
    }
}
