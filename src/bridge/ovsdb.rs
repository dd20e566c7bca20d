//! Open vSwitch's database, spoken to directly: JSON-RPC over its Unix socket (RFC 7047), one transaction
//! a call, so that a change is whole or not at all and nothing is forked.

use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The database of every Open vSwitch.
const DATABASE: &str = "Open_vSwitch";
/// A local database answers in milliseconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long ovs-vswitchd may take to make the kernel what the database says.
const SETTLE_LIMIT: Duration = Duration::from_secs(15);

/// How the database fails.
#[derive(Debug, thiserror::Error)]
pub enum OvsdbError {
    /// Nobody listens at its socket.
    #[error("the Open vSwitch database does not answer at {}", .path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the Open vSwitch database broke off")]
    Broken(#[source] std::io::Error),
    /// What it answered is not JSON-RPC.
    #[error("the answer of the Open vSwitch database is not understood: {0}")]
    Answer(String),
    /// It refused the transaction.
    #[error("the Open vSwitch database refused: {0}")]
    Refused(String),
    /// ovs-vswitchd did not follow.
    #[error("ovs-vswitchd did not take up the change within {0} s")]
    NotSettled(u64),
}

/// A connection to the database.
pub struct Ovsdb {
    reader: BufReader<UnixStream>,
    next_id: u64,
}

impl Ovsdb {
    /// Connects to the database at `path`.
    pub fn connect(path: &Path) -> Result<Self, OvsdbError> {
        let failed = |source| OvsdbError::Connect { path: path.to_owned(), source };
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(failed)?;
        stream.set_write_timeout(Some(ANSWER_LIMIT)).map_err(failed)?;
        Ok(Self { reader: BufReader::new(stream), next_id: 0 })
    }

    /// Runs the operations as one transaction and gives the result of each.
    pub fn transact(&mut self, operations: &[Value]) -> Result<Vec<Value>, OvsdbError> {
        let id = self.next_id;
        self.next_id += 1;
        let mut params = vec![json!(DATABASE)];
        params.extend_from_slice(operations);
        let request = json!({ "method": "transact", "params": params, "id": id }).to_string();
        self.reader.get_mut().write_all(request.as_bytes()).map_err(OvsdbError::Broken)?;
        loop {
            let mut answers = serde_json::Deserializer::from_reader(&mut self.reader).into_iter::<Value>();
            let answer = match answers.next() {
                Some(Ok(answer)) => answer,
                Some(Err(error)) if error.is_io() || error.is_eof() => {
                    return Err(OvsdbError::Broken(error.into()));
                }
                Some(Err(error)) => return Err(OvsdbError::Answer(error.to_string())),
                None => return Err(OvsdbError::Broken(std::io::ErrorKind::UnexpectedEof.into())),
            };
            // The server may ask for a sign of life in between ("echo"); such a call is over before it waits.
            if answer["id"] == id && answer.get("method").is_none() {
                return results(&answer);
            }
        }
    }

    /// As [`Self::transact`], and then waits until ovs-vswitchd has made it so.
    pub fn transact_and_settle(&mut self, operations: &[Value]) -> Result<(), OvsdbError> {
        let mut all = operations.to_vec();
        all.push(
            json!({ "op": "mutate", "table": DATABASE, "where": [], "mutations": [["next_cfg", "+=", 1]] }),
        );
        all.push(json!({ "op": "select", "table": DATABASE, "where": [], "columns": ["next_cfg"] }));
        let results = self.transact(&all)?;
        let wanted = results.last().and_then(|r| r["rows"][0]["next_cfg"].as_i64()).unwrap_or(0);
        let deadline = Instant::now() + SETTLE_LIMIT;
        let mut pause = Duration::from_millis(1);
        loop {
            let look = json!({ "op": "select", "table": DATABASE, "where": [], "columns": ["cur_cfg"] });
            let current = self.transact(&[look])?.first().and_then(|r| r["rows"][0]["cur_cfg"].as_i64());
            if current.is_some_and(|current| current >= wanted) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(OvsdbError::NotSettled(SETTLE_LIMIT.as_secs()));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

fn results(answer: &Value) -> Result<Vec<Value>, OvsdbError> {
    if !answer["error"].is_null() {
        return Err(OvsdbError::Refused(answer["error"].to_string()));
    }
    let results = answer["result"].as_array().ok_or_else(|| OvsdbError::Answer(answer.to_string()))?;
    for result in results {
        if let Some(error) = result["error"].as_str() {
            let details = result["details"].as_str().unwrap_or("no details");
            return Err(OvsdbError::Refused(format!("{error}: {details}")));
        }
    }
    Ok(results.clone())
}

/// The pairs of a map column, `["map", [[k, v], …]]`.
pub(super) fn map_value<'v>(column: &'v Value, key: &str) -> Option<&'v str> {
    column[1].as_array()?.iter().find(|pair| pair[0] == key)?[1].as_str()
}

/// The elements of a set column; one alone stands for itself (RFC 7047, section 5.1).
pub(super) fn set_values(column: &Value) -> Vec<&Value> {
    match column[0].as_str() {
        Some("set") => column[1].as_array().map(|all| all.iter().collect()).unwrap_or_default(),
        _ => vec![column],
    }
}

/// A map column from pairs.
pub(super) fn map_of(pairs: &[(&str, &str)]) -> Value {
    json!(["map", pairs.iter().map(|(k, v)| json!([k, v])).collect::<Vec<_>>()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn answering(answer: &'static str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut buffer);
            let _ = stream.write_all(answer.as_bytes());
        });
        (dir, path)
    }

    #[test]
    fn an_answer_is_found_behind_a_question_of_the_server() {
        let (_dir, path) = answering(
            r#"{"id":"echo","method":"echo","params":[]}{"id":0,"error":null,"result":[{"rows":[]}]}"#,
        );
        assert_eq!(Ovsdb::connect(&path).unwrap().transact(&[]).unwrap(), [json!({ "rows": [] })]);
    }

    #[test]
    fn a_refused_operation_says_why_and_a_broken_connection_is_told() {
        let (_dir, path) = answering(
            r#"{"id":0,"error":null,"result":[{"error":"constraint violation","details":"duplicate name"}]}"#,
        );
        let error = Ovsdb::connect(&path).unwrap().transact(&[]).unwrap_err().to_string();
        assert!(error.contains("constraint violation: duplicate name"), "{error}");
        let (_dir, path) = answering("");
        assert!(matches!(Ovsdb::connect(&path).unwrap().transact(&[]), Err(OvsdbError::Broken(_))));
        assert!(matches!(Ovsdb::connect(Path::new("/nonexistent")), Err(OvsdbError::Connect { .. })));
    }
}
