//! The chat's page, as the server sends it: plain, compressed, or not again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails ends the test")]

#[allow(dead_code, unreachable_pub, reason = "what other tests need of it")]
#[path = "support/bus.rs"]
mod private;
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use flate2::read::GzDecoder;
use private::PrivateBus;
use serde_json::json;
use support::Need;
use support::sockets::handed_over;

/// The server, without a daemon: its page needs none.
struct Server {
    program: Child,
    listener: TcpListener,
    _bus: PrivateBus,
}

impl Server {
    fn start() -> Self {
        let bus = PrivateBus::start();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let spec = json!({ "version": 1, "mcp": { "port": listener.local_addr().unwrap().port() } });
        std::fs::write(bus.dir.path().join("config.json"), spec.to_string()).unwrap();
        let program = handed_over(env!("CARGO_BIN_EXE_mcp-chat"), &[&listener])
            .env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)
            .env("OPDBUS_ETC", bus.dir.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { program, listener, _bus: bus }
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let address = self.listener.local_addr().unwrap();
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(format!("{request}\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
        Answer { head, body: answer[end + 4..].to_vec() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(known, _)| *known == name).map(|(_, value)| value);
        assert!(lines.all(|(known, _)| known != name), "{name} is there twice");
        found
    }
}

/// Where the server has the page's files, and where the sources have them.
fn files() -> Vec<(String, PathBuf)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/page");
    let assets = std::fs::read_dir(page.join("assets")).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (format!("/assets/{}", path.file_name().unwrap().to_str().unwrap()), path)
    });
    assets.chain([("/chat.html".into(), page.join("chat.html"))]).collect()
}

#[test]
fn the_page_is_sent_compressed_to_who_takes_it_so_and_not_again_to_who_has_it() {
    let name = "the_page_is_sent_compressed_to_who_takes_it_so_and_not_again_to_who_has_it";
    if !support::can_run("unit", name, &[Need::Program("dbus-daemon")]) {
        return;
    }
    let server = Server::start();
    let (mut plain_size, mut sent_size) = (0, 0);
    for (path, source) in files() {
        let written = std::fs::read(source).unwrap();
        let plain = server.get(&path, &[]);
        for (what, headers) in [
            ("no header", &[][..]),
            ("brotli alone", &[("Accept-Encoding", "br")]),
            ("no gzip", &[("Accept-Encoding", "gzip;q=0, br, deflate")]),
        ] {
            let answer = server.get(&path, headers);
            assert_eq!((answer.status(), answer.header("content-encoding")), ("200", None), "{path}, {what}");
            assert_eq!(answer.header("etag"), plain.header("etag"), "{path}, {what}");
            assert!(answer.body == written, "{path}, {what}");
        }
        let takes = ("Accept-Encoding", "gzip, deflate, br, zstd");
        let sent = server.get(&path, &[takes]);
        assert_eq!(sent.status(), "200", "{path}");
        assert_eq!(sent.header("content-length"), Some(sent.body.len().to_string().as_str()), "{path}");
        assert_eq!(sent.header("content-type"), plain.header("content-type"), "{path}");
        if sent.header("content-encoding").is_some() {
            assert_eq!(sent.header("content-encoding"), Some("gzip"), "{path}");
            let mut unpacked = Vec::new();
            GzDecoder::new(sent.body.as_slice()).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == written, "{path} is not the same when it is unpacked");
            assert!(sent.body.len() < written.len(), "{path}");
            assert_ne!(sent.header("etag"), plain.header("etag"), "{path}");
        } else {
            assert!(written.len() < 512, "{path} is worth it");
            assert!(sent.body == written, "{path}");
        }
        for (first, headers) in [(&plain, &[][..]), (&sent, &[takes])] {
            assert_eq!(first.header("vary"), Some("accept-encoding"), "{path}");
            let tag = first.header("etag").unwrap();
            let again = server.get(&path, &[headers, &[("If-None-Match", tag)]].concat());
            assert_eq!((again.status(), again.body.len()), ("304", 0), "{path}");
            assert_eq!((again.header("etag"), again.header("vary")), (Some(tag), Some("accept-encoding")));
            assert_eq!(again.header("content-encoding"), None, "{path}");
        }
        // Who has the one is not told that it is the other.
        if sent.header("etag") != plain.header("etag") {
            let other = server.get(&path, &[takes, ("If-None-Match", plain.header("etag").unwrap())]);
            assert_eq!(other.status(), "200", "{path}");
        }
        plain_size += written.len();
        sent_size += sent.body.len();
    }
    assert!(sent_size * 2 < plain_size, "{sent_size} of {plain_size} bytes are sent");
    // What is somebody's own is not compressed.
    let refused = server.get("/session", &[("Accept-Encoding", "gzip")]);
    assert_eq!((refused.status(), refused.header("content-encoding")), ("401", None));
}
