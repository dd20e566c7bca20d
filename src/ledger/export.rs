//! The ledger as lines of JSON, for programs that keep or search it elsewhere.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::entry::Filter;
use super::error::LedgerError;
use super::store::Ledger;
use crate::fault::{Fault, Kind};
use crate::hex::hex;

/// How many entries are read at once, each of some hundred KiB at most: no transaction and no memory grows with the
/// ledger. What is appended meanwhile is not waited for.
const PAGE: u32 = 200;

/// Why a ledger was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Nobody takes it, or there is no room for it.
    #[error("cannot write what is exported: {0}")]
    Write(#[from] io::Error),
}

impl Fault for ExportError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ledger(e) => e.kind(),
            Self::Write(_) => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Ledger(e) => e.next(),
            Self::Write(_) => None,
        }
    }
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exported {
    /// How many entries.
    pub entries: u64,
    /// The number of the first.
    pub first: Option<i64>,
    /// The number of the last.
    pub last: Option<i64>,
    /// SHA-256 of all the lines.
    pub sha256: String,
}

/// Writes the entries from one time to another (seconds since 1970, both included), the oldest first, one a line, each
/// in the form of RFC 8785. It ends with the entry that was the last when it began. Nothing is verified.
pub fn export(
    db: &Path,
    since: Option<i64>,
    until: Option<i64>,
    out: &mut impl Write,
) -> Result<Exported, ExportError> {
    let end = Ledger::read(db, Ledger::head)?.id;
    let mut sum = Sha256::new();
    let mut done = Exported { entries: 0, first: None, last: None, sha256: String::new() };
    let mut next = i64::MIN;
    loop {
        let page = Filter {
            ids: Some(next..=end),
            since,
            until,
            limit: Some(PAGE),
            oldest_first: true,
            ..Filter::default()
        };
        let entries = Ledger::read(db, |ledger| ledger.entries(&page))?;
        for entry in &entries {
            let mut line = serde_json_canonicalizer::to_vec(entry).map_err(io::Error::other)?;
            line.push(b'\n');
            sum.update(&line);
            out.write_all(&line)?;
            done.first = done.first.or(Some(entry.id));
            done.last = Some(entry.id);
            done.entries += 1;
        }
        match entries.last().and_then(|entry| entry.id.checked_add(1)) {
            Some(after) if entries.len() >= PAGE as usize => next = after,
            _ => break,
        }
    }
    out.flush()?;
    done.sha256 = hex(&sum.finalize());
    Ok(done)
}

/// A caller's stream, written to for as long as somebody takes what is written: a caller that does not read holds
/// nothing of the daemon for longer than the limit.
pub struct Patient {
    stream: File,
    limit: Duration,
}

impl Patient {
    /// The stream; each write waits no longer than the limit.
    #[must_use]
    pub fn new(stream: OwnedFd, limit: Duration) -> Self {
        Self { stream: stream.into(), limit }
    }
}

/// What a pipe takes without waiting where it says that it takes anything (`PIPE_BUF`).
const CHUNK: usize = 4096;

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let limit = Timespec::try_from(self.limit).map_err(io::Error::other)?;
        let mut streams = [PollFd::new(&self.stream, PollFlags::OUT)];
        if poll(&mut streams, Some(&limit))? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("nobody took it for {} s", self.limit.as_secs()),
            ));
        }
        self.stream.write(bytes.get(..CHUNK).unwrap_or(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Deployment;
    use crate::ledger::{Call, Caller, NewEntry, Outcome, Via};

    #[test]
    fn every_entry_is_a_canonical_line_across_the_pages_and_times_choose() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("blockchain.db");
        let caller = Caller::this_process(Via::Helper);
        Ledger::init(&db, &caller, Deployment::Traditional).unwrap();
        let ledger = Ledger::open(&db).unwrap();
        let count = i64::from(PAGE) * 2;
        for number in 2..count {
            let target = format!("web-{number}");
            let call = Call {
                operation: "container.create",
                target: &target,
                caller: &caller,
                arguments: serde_json::Map::new(),
                outcome: Outcome::Ok,
                duration: Duration::ZERO,
                deployment: Deployment::Traditional,
            };
            ledger.append(&NewEntry::call(call)).unwrap();
        }
        let mut text = Vec::new();
        let done = export(&db, None, None, &mut text).unwrap();
        assert_eq!((done.first, done.last), (Some(0), Some(count - 1)));
        assert_eq!(done.sha256, hex(&Sha256::digest(&text)));
        let text = String::from_utf8(text).unwrap();
        let all = ledger.entries(&Filter { oldest_first: true, ..Filter::default() }).unwrap();
        assert_eq!(text.lines().count(), all.len());
        for (line, entry) in text.lines().zip(&all) {
            assert_eq!(serde_json::from_str::<crate::ledger::Entry>(line).unwrap(), *entry);
            assert!(line.starts_with("{\"current_hash\":\""), "{line}");
        }
        let mut none = Vec::new();
        let done = export(&db, Some(i64::MAX), None, &mut none).unwrap();
        assert_eq!((done.entries, none.len()), (0, 0));
    }

    #[test]
    fn who_does_not_read_is_not_waited_for() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut stream = Patient::new(writer.into(), Duration::from_millis(50));
        let error = stream.write_all(&vec![0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    }
}
