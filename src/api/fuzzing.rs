//! Requests, from any bytes, by a stranger: every operation is refused, and none of them runs.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream as Pair;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::router;
use super::seats::Visitor;
use crate::engine::Host;
use crate::ops::Service;
use crate::paths::Paths;
use crate::run::{Exec, Invocation, Output, RunError, Runner};

/// What every connection ends with: the answer to it is the last.
const LAST: &[u8] = b"\r\n\r\nGET /v1/last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
/// A request whose body never comes is given up after this long.
const PATIENCE: Duration = Duration::from_millis(5);

/// Connections that are handed over, each a stranger's.
struct Lane(UnboundedReceiver<UnixStream>);

impl Listener for Lane {
    type Io = UnixStream;
    type Addr = ();

    async fn accept(&mut self) -> (UnixStream, ()) {
        match self.0.recv().await {
            Some(stream) => (stream, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Connected<IncomingStream<'_, Lane>> for Visitor {
    fn connect_info(_: IncomingStream<'_, Lane>) -> Self {
        Self::stranger()
    }
}

/// Runs nothing.
struct Nothing;

impl Exec for Nothing {
    fn exec(&self, call: &Invocation, _: &mut dyn FnMut(&str)) -> Result<Output, RunError> {
        unreachable!("a stranger's request ran {call}")
    }
}

fn server() -> Option<(Runtime, UnboundedSender<UnixStream>)> {
    let runtime = Builder::new_current_thread().enable_all().build().ok()?;
    let (connect, connections) = unbounded_channel();
    let nowhere = Path::new("/nonexistent");
    let paths = Paths { etc: nowhere.join("etc"), run: nowhere.join("run"), ..Paths::default() };
    let service = Arc::new(Service::new(Host { paths, run: Runner::new(Nothing) }));
    let service = router(service).into_make_service_with_connect_info::<Visitor>();
    runtime.spawn(async move { axum::serve(Lane(connections), service).await });
    Some((runtime, connect))
}

/// What comes over a connection is answered as HTTP, without an operation that ended otherwise than it should.
pub(crate) fn requests(data: &[u8]) {
    static SERVER: OnceLock<Option<(Runtime, UnboundedSender<UnixStream>)>> = OnceLock::new();
    let Some((runtime, connect)) = SERVER.get_or_init(server) else { return };
    // Less than what a socket takes without a reader.
    let sent = [&data[..data.len().min(16 << 10)], LAST].concat();
    let Ok(answer) = runtime.block_on(async {
        let (mut ours, theirs) = Pair::pair()?;
        ours.write_all(&sent)?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        assert!(connect.send(UnixStream::from_std(theirs)?).is_ok());
        let mut answer = Vec::new();
        let read = answered(UnixStream::from_std(ours)?, &mut answer);
        let _ = tokio::time::timeout(PATIENCE, read).await;
        io::Result::Ok(answer)
    }) else {
        return;
    };
    let text = String::from_utf8_lossy(&answer);
    assert!(text.is_empty() || text.starts_with("HTTP/1."), "{text}");
    assert!(!text.contains("ended unexpectedly"), "{text}");
}

/// Reads until the connection is closed.
async fn answered(from: UnixStream, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        from.readable().await?;
        match from.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
