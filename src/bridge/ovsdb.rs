//! Open vSwitch's database, spoken to directly (RFC 7047): JSON-RPC over its Unix socket, so that the
//! hot path (a container's port) starts no process.

use std::collections::BTreeMap;
use std::io::{BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::fault::{Fault, Kind};

/// The database's name, as in its schema.
const DATABASE: &str = "Open_vSwitch";

/// The server answers in under a millisecond; one that has not after this long is stuck.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// How often `ovs-vswitchd` is asked whether it has caught up.
const POLL: Duration = Duration::from_millis(5);

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum OvsdbError {
    /// Nothing listens at the socket.
    #[error("cannot reach Open vSwitch's database at {}", .path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke or timed out.
    #[error("Open vSwitch's database at {} did not answer", .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It answered what RFC 7047 does not have.
    #[error("Open vSwitch's database gave an answer that cannot be read: {0}")]
    Protocol(String),
    /// It refused an operation; nothing of the transaction was done.
    #[error("Open vSwitch's database refused to {what}: {error}{}", if .details.is_empty() { String::new() } else { format!(" ({})", .details) })]
    Refused {
        /// The operation, as `insert Port`.
        what: String,
        /// The error's name: `constraint violation`.
        error: String,
        /// What the server adds.
        details: String,
    },
    /// `ovs-vswitchd` has not taken the change over.
    #[error("ovs-vswitchd has not taken a change over from its database within {seconds} s")]
    NotSettled {
        /// How long was waited.
        seconds: u64,
    },
}

impl Fault for OvsdbError {
    fn kind(&self) -> Kind {
        match self {
            Self::Connect { source, .. } if source.kind() == ErrorKind::PermissionDenied => Kind::Denied,
            Self::Connect { .. } | Self::Io { .. } | Self::NotSettled { .. } => Kind::Unavailable,
            Self::Protocol(_) | Self::Refused { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Connect { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Some("run it as root".into())
            }
            Self::Connect { .. } | Self::Io { .. } => Some(
                match Deployment::here() {
                    Deployment::Traditional => {
                        "start Open vSwitch and try again: apt install openvswitch-switch; systemctl start openvswitch-switch"
                    }
                    Deployment::NixOs => "start Open vSwitch and try again: systemctl start ovs-vswitchd",
                }
                .into(),
            ),
            Self::NotSettled { .. } => Some(
                "see whether ovs-vswitchd runs (systemctl status ovs-vswitchd; journalctl -u ovs-vswitchd), then try again"
                    .into(),
            ),
            _ => None,
        }
    }
}

/// A connection to the database.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    last_id: u64,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    id: Value,
    method: Option<String>,
    #[serde(default)]
    params: Value,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Value,
}

impl Client {
    /// Connects to the server at a socket.
    pub fn connect(path: &Path) -> Result<Self, OvsdbError> {
        let connect = |source| OvsdbError::Connect { path: path.to_owned(), source };
        let stream = UnixStream::connect(path).map_err(connect)?;
        stream.set_read_timeout(Some(TIME_LIMIT)).map_err(connect)?;
        stream.set_write_timeout(Some(TIME_LIMIT)).map_err(connect)?;
        Ok(Self { path: path.to_owned(), stream: BufReader::new(stream), last_id: 0 })
    }

    /// Over a connection that is there.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn over(stream: UnixStream) -> Self {
        Self { path: PathBuf::new(), stream: BufReader::new(stream), last_id: 0 }
    }

    fn io(&self, source: std::io::Error) -> OvsdbError {
        OvsdbError::Io { path: self.path.clone(), source }
    }

    fn send(&mut self, message: &Value) -> Result<(), OvsdbError> {
        let bytes = message.to_string();
        self.stream.get_mut().write_all(bytes.as_bytes()).map_err(|source| self.io(source))
    }

    fn receive(&mut self) -> Result<Message, OvsdbError> {
        let mut from = serde_json::Deserializer::from_reader(&mut self.stream);
        Message::deserialize(&mut from).map_err(|error| {
            if error.is_io() || error.is_eof() {
                self.io(error.into())
            } else {
                OvsdbError::Protocol(error.to_string())
            }
        })
    }

    /// Runs the operations as one transaction, all or nothing, and gives the result of each.
    pub fn transact(&mut self, operations: &[Value]) -> Result<Vec<Value>, OvsdbError> {
        self.last_id += 1;
        let id = json!(self.last_id);
        let mut params = vec![json!(DATABASE)];
        params.extend_from_slice(operations);
        self.send(&json!({ "method": "transact", "params": params, "id": id }))?;
        let answer = loop {
            let message = self.receive()?;
            match message.method.as_deref() {
                // The server asks whether we are still there.
                Some("echo") => {
                    self.send(&json!({ "result": message.params, "error": null, "id": message.id }))?;
                }
                None if message.id == id => break message,
                // An update or an answer that nobody waits for.
                _ => {}
            }
        };
        if !answer.error.is_null() {
            return Err(refused("run a transaction".into(), &answer.error));
        }
        let Value::Array(mut results) = answer.result else {
            return Err(OvsdbError::Protocol("a transaction's result is not an array".into()));
        };
        if let Some((index, failed)) = results.iter().enumerate().find(|(_, r)| r.get("error").is_some()) {
            // One more result than operations is the failure of the commit as a whole.
            let what = operations.get(index).map_or_else(
                || "commit a transaction".into(),
                |o| format!("{} {}", string(&o["op"]), string(&o["table"])),
            );
            return Err(refused(what, failed));
        }
        if results.len() < operations.len() {
            return Err(OvsdbError::Protocol("a transaction's result is too short".into()));
        }
        results.truncate(operations.len());
        Ok(results)
    }

    /// Runs the operations as one transaction and waits until `ovs-vswitchd` has taken it over.
    /// With no operations it waits for what was changed before.
    pub fn transact_and_settle(
        &mut self,
        operations: &[Value],
        patience: Duration,
    ) -> Result<(), OvsdbError> {
        let mut all = operations.to_vec();
        all.push(
            json!({ "op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]] }),
        );
        all.push(select("Open_vSwitch", &json!([]), &["next_cfg"]));
        let results = self.transact(&all)?;
        let Some(target) = rows(results.last()).next().and_then(|row| row["next_cfg"].as_i64()) else {
            return Err(OvsdbError::Protocol(
                "the database holds no Open_vSwitch row; `ovs-vsctl init` makes one".into(),
            ));
        };
        let deadline = Instant::now() + patience;
        let ask = [select("Open_vSwitch", &json!([]), &["cur_cfg"])];
        loop {
            let results = self.transact(&ask)?;
            let reached = rows(results.first()).next().and_then(|row| row["cur_cfg"].as_i64());
            if reached.is_some_and(|cur| cur >= target) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(OvsdbError::NotSettled { seconds: patience.as_secs() });
            }
            std::thread::sleep(POLL);
        }
    }
}

fn refused(what: String, failure: &Value) -> OvsdbError {
    let error = failure.get("error").map_or_else(|| failure.to_string(), string);
    OvsdbError::Refused { what, error, details: failure.get("details").map(string).unwrap_or_default() }
}

/// The operation that reads some columns of the rows that fit.
#[must_use]
pub fn select(table: &str, conditions: &Value, columns: &[&str]) -> Value {
    json!({ "op": "select", "table": table, "where": conditions, "columns": columns })
}

/// A map as the database writes it.
#[must_use]
pub fn map(pairs: &[(&str, &str)]) -> Value {
    json!(["map", pairs.iter().map(|(k, v)| json!([k, v])).collect::<Vec<_>>()])
}

/// A set as the database writes it.
#[must_use]
pub fn set(members: &[impl serde::Serialize]) -> Value {
    json!(["set", members])
}

/// The rows in the result of a select.
pub fn rows(result: Option<&Value>) -> impl Iterator<Item = &Value> {
    result.and_then(|r| r["rows"].as_array()).into_iter().flatten()
}

/// A value as text; empty where it is none (an empty set).
#[must_use]
pub fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The members of a set, which the database writes bare where there is just one.
#[must_use]
pub fn members(value: &Value) -> Vec<&Value> {
    match value.as_array().map(Vec::as_slice) {
        Some([kind, Value::Array(members)]) if kind == "set" => members.iter().collect(),
        _ => vec![value],
    }
}

/// The members of a set of texts.
#[must_use]
pub fn strings(value: &Value) -> Vec<String> {
    members(value).into_iter().map(string).filter(|s| !s.is_empty()).collect()
}

/// The identifier in `["uuid", "…"]`.
#[must_use]
pub fn uuid(value: &Value) -> Option<&str> {
    match value.as_array().map(Vec::as_slice) {
        Some([kind, Value::String(id)]) if kind == "uuid" => Some(id),
        _ => None,
    }
}

/// A map of texts.
#[must_use]
pub fn texts(value: &Value) -> BTreeMap<String, String> {
    match value.as_array().map(Vec::as_slice) {
        Some([kind, Value::Array(pairs)]) if kind == "map" => {
            pairs.iter().map(|pair| (string(&pair[0]), string(&pair[1]))).collect()
        }
        _ => BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A server that answers one connection with the given bytes after the first request.
    fn server(answer: &'static str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = stream.read(&mut buffer);
        });
        (dir, path)
    }

    fn ask(answer: &'static str) -> Result<Vec<Value>, OvsdbError> {
        let (_dir, path) = server(answer);
        Client::connect(&path).unwrap().transact(&[json!({ "op": "insert", "table": "Port" })])
    }

    #[test]
    fn other_messages_on_the_connection_are_passed_over() {
        let answer = r#"{"id":"echo","method":"echo","params":[]}{"id":null,"method":"update","params":[]}{"id":1,"result":[{"count":1}],"error":null}"#;
        assert_eq!(ask(answer).unwrap(), [json!({ "count": 1 })]);
    }

    #[test]
    fn a_refusal_names_the_operation_and_the_reason() {
        let error =
            ask(r#"{"id":1,"result":[{"error":"constraint violation","details":"twice"}],"error":null}"#)
                .unwrap_err();
        assert_eq!(
            error.to_string(),
            "Open vSwitch's database refused to insert Port: constraint violation (twice)"
        );
        let error =
            ask(r#"{"id":1,"result":[{},{"error":"resources exhausted"}],"error":null}"#).unwrap_err();
        assert!(error.to_string().contains("commit a transaction: resources exhausted"), "{error}");
    }

    #[test]
    fn a_broken_or_senseless_answer_is_an_error() {
        assert!(matches!(
            ask(r#"{"id":1,"resu"#).unwrap_err(),
            OvsdbError::Io { .. } | OvsdbError::Protocol(_)
        ));
        assert!(matches!(ask("no json").unwrap_err(), OvsdbError::Protocol(_)));
        assert!(matches!(ask(r#"{"id":1,"result":[],"error":null}"#).unwrap_err(), OvsdbError::Protocol(_)));
    }

    #[test]
    fn nothing_at_the_socket_is_said_with_the_next_step() {
        let error = Client::connect(Path::new("/nonexistent/db.sock")).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.next().unwrap().contains("openvswitch-switch"));
    }

    #[test]
    fn values_are_read_as_the_database_writes_them() {
        assert_eq!(strings(&json!("one")), ["one"]);
        assert_eq!(strings(&json!(["set", ["a", "b"]])), ["a", "b"]);
        assert!(strings(&json!(["set", []])).is_empty());
        assert_eq!(uuid(&json!(["uuid", "x"])), Some("x"));
        assert_eq!(texts(&map(&[("k", "v")]))["k"], "v");
    }
}
