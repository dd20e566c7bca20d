//! A mirror on this machine that relays what the host's own one has, and can be told to break off.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test program is a crate of its own and uses a part of it"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Its state, which its threads share.
struct State {
    cache: PathBuf,
    /// Packages it still gives whole; below none, nothing is answered any more.
    left: AtomicI64,
    served: AtomicUsize,
    one_at_a_time: Mutex<()>,
}

/// A mirror. It ends with the process.
pub struct Mirror {
    address: SocketAddr,
    state: Arc<State>,
}

impl Mirror {
    /// One that keeps what it fetched in `cache`.
    pub fn new(cache: PathBuf) -> Self {
        std::fs::create_dir_all(&cache).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            cache,
            left: AtomicI64::new(i64::MAX),
            served: AtomicUsize::new(0),
            one_at_a_time: Mutex::new(()),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || {
                    let _ = state.answer(stream);
                });
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}/debian", self.address)
    }

    /// Has it die in the middle of the package after the next `packages`; `None` brings it back.
    pub fn dies_after(&self, packages: Option<u16>) {
        self.state.left.store(packages.map_or(i64::MAX, i64::from), Ordering::SeqCst);
    }

    /// How many packages it has given whole.
    pub fn served(&self) -> usize {
        self.state.served.load(Ordering::SeqCst)
    }
}

impl State {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !request.windows(4).any(|w| w == b"\r\n\r\n") {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                n => request.extend_from_slice(&buffer[..n]),
            }
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let package = path.strip_suffix(".deb").is_some();
        let left =
            if package { self.left.fetch_sub(1, Ordering::SeqCst) } else { self.left.load(Ordering::SeqCst) };
        if left < 0 {
            return Ok(());
        }
        let Some(body) = self.fetch(path) else {
            return stream
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
        if package && left == 0 {
            return stream.write_all(&body[..body.len() / 2]);
        }
        stream.write_all(&body)?;
        self.served.fetch_add(usize::from(package), Ordering::SeqCst);
        Ok(())
    }

    /// What the host's own apt gets for a path: through the same proxy, with the same settings.
    fn fetch(&self, path: &str) -> Option<Vec<u8>> {
        let file = self.cache.join(path.replace('/', "_"));
        if !file.exists() {
            let _one = self.one_at_a_time.lock().unwrap();
            let new = file.with_extension("new");
            let got = Command::new("/usr/lib/apt/apt-helper")
                .args(["-o", "Acquire::Retries=3", "download-file"])
                .arg(format!("http://deb.debian.org{path}"))
                .arg(&new)
                .output()
                .unwrap();
            if !got.status.success() {
                return None;
            }
            std::fs::rename(&new, &file).unwrap();
        }
        std::fs::read(file).ok()
    }
}
