//! A bus of the test's own, and services on it that behave as the test wants.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use zbus::MessageStream;
use zbus::message::Type;

/// A dbus-daemon with the limits of a system bus. Everybody may do everything on it.
pub struct PrivateBus {
    pub dir: tempfile::TempDir,
    pub address: String,
    daemon: Child,
}

impl PrivateBus {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir(dir.path().join("services")).unwrap();
        let config = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig>\n\
             <listen>unix:path={}</listen>\n<auth>EXTERNAL</auth>\n<servicedir>{}</servicedir>\n\
             <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/>\
             <allow receive_sender=\"*\"/></policy>\n</busconfig>\n",
            at("socket"),
            at("services"),
        );
        std::fs::write(dir.path().join("bus.conf"), config).unwrap();
        let daemon = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--nosyslog"])
            .arg(format!("--config-file={}", at("bus.conf")))
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let bus = Self { address: format!("unix:path={}", at("socket")), dir, daemon };
        Self::wait_for(&bus.dir.path().join("socket"));
        bus
    }

    fn wait_for(path: &Path) {
        let start = Instant::now();
        while !path.exists() {
            assert!(start.elapsed() < Duration::from_secs(10), "{} did not come", path.display());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A service that the bus can start: it leaves a mark and ends.
    pub fn activatable(&self, name: &str) -> PathBuf {
        let mark = self.dir.path().join(format!("{name}.started"));
        let service =
            format!("[D-BUS Service]\nName={name}\nExec=/usr/bin/touch {}\nUser=root\n", mark.display());
        std::fs::write(self.dir.path().join(format!("services/{name}.service")), service).unwrap();
        let reloaded = self.busctl(&[
            "call",
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "ReloadConfig",
        ]);
        assert!(reloaded.success());
        mark
    }

    pub fn busctl(&self, arguments: &[&str]) -> std::process::ExitStatus {
        let call = Command::new("busctl").arg(format!("--address={}", self.address)).args(arguments).output();
        call.unwrap().status
    }

    /// A service with these names. What `answer` gives for the path, interface and method of a call is what it answers;
    /// where that is nothing, it does not answer at all, and an error is one.
    pub fn serve(
        &self,
        names: &[&str],
        answer: impl Fn(&str, &str, &str) -> Option<Result<Answer, &'static str>> + Send + 'static,
    ) -> Service {
        let (address, names) =
            (self.address.clone(), names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        let (ready, wait) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let bus = zbus::connection::Builder::address(address.as_str()).build().await.unwrap();
                let mut messages = MessageStream::from(&bus);
                for name in names {
                    bus.request_name(name).await.unwrap();
                }
                ready.send(()).unwrap();
                tokio::pin!(stopped);
                loop {
                    let message = tokio::select! {
                        _ = &mut stopped => return,
                        message = messages.next() => message,
                    };
                    let Some(Ok(message)) = message else { return };
                    if message.message_type() != Type::MethodCall {
                        continue;
                    }
                    let header = message.header();
                    let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
                    let path = text(header.path().map(zbus::ObjectPath::as_str));
                    let interface = text(header.interface().map(zbus::names::InterfaceName::as_str));
                    let member = text(header.member().map(zbus::names::MemberName::as_str));
                    match answer(&path, &interface, &member) {
                        None => {}
                        Some(Ok(Answer::Text(text))) => bus.reply(&header, &text).await.unwrap(),
                        Some(Ok(Answer::Values(values))) => bus.reply(&header, &values).await.unwrap(),
                        Some(Err(error)) => {
                            bus.reply_error(&header, "org.freedesktop.DBus.Error.AccessDenied", &error)
                                .await
                                .unwrap();
                        }
                    }
                }
            });
        });
        wait.recv_timeout(Duration::from_secs(10)).unwrap();
        Service { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// What a service answers.
pub enum Answer {
    Text(String),
    Values(std::collections::HashMap<String, zbus::wire::OwnedVariant>),
}

/// A service; it goes when this does.
pub struct Service {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
