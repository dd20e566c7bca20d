//! A network namespace of a test's own with an Open vSwitch of its own in it: database server and switch
//! in userspace, on sockets in a temporary directory. Nothing of the machine's is touched, and nothing is
//! left: the namespace goes with its last process, and the processes go with the test, however it ends.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use opdbus::engine::Host;
use opdbus::mac::MacAddr;
use opdbus::paths::Paths;
use opdbus::run::Runner;
use tempfile::TempDir;

/// A child that is killed when the test ends; by the kernel, should the test be killed itself.
struct Process(Child);

impl Process {
    fn start(program: &str, args: &[&str], dir: &Path) -> Self {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", program])
            .args(args)
            .env("OVS_RUNDIR", dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something holds; fails the test after ten seconds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within 10 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a tool that must succeed, in the namespace of the calling thread.
pub(crate) fn tool(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    checked(program, args, output)
}

fn checked(program: &str, args: &[&str], output: Output) -> String {
    assert!(
        output.status.success(),
        "{program} {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// An Open vSwitch in a namespace.
pub(crate) struct Ovs {
    switch: Option<Process>,
    database: Option<Process>,
    pub(crate) host: Host,
    pub(crate) dir: TempDir,
}

impl Ovs {
    /// Moves the calling thread, which is the test's, into a new namespace, and starts Open vSwitch there.
    pub(crate) fn start() -> Self {
        let mut ovs = Self::bare();
        ovs.start_database();
        ovs.start_switch();
        ovs
    }

    /// The namespace alone.
    pub(crate) fn bare() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        tool("ip", &["link", "set", "lo", "up"]);
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            etc: dir.path().join("etc"),
            run: dir.path().join("opdbus"),
            ovsdb: dir.path().join("db.sock"),
            ovs_run: dir.path().to_owned(),
            ..Paths::default()
        };
        Self { switch: None, database: None, host: Host { paths, run: Runner::default() }, dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn start_database(&mut self) {
        let file = self.path("conf.db");
        if !Path::new(&file).exists() {
            tool("ovsdb-tool", &["create", &file, "/usr/share/openvswitch/vswitch.ovsschema"]);
        }
        let remote = format!("--remote=punix:{}", self.path("db.sock"));
        let control = format!("--unixctl={}", self.path("db.ctl"));
        let arguments = [&file, &remote, &control, "-vconsole:off"];
        self.database = Some(Process::start("ovsdb-server", &arguments, self.dir.path()));
        let socket = self.host.paths.ovsdb.clone();
        eventually("ovsdb-server", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        self.vsctl(&["--no-wait", "init"]);
    }

    pub(crate) fn start_switch(&mut self) {
        let database = format!("unix:{}", self.path("db.sock"));
        let control = format!("--unixctl={}", self.path("vs.ctl"));
        let log = format!("--log-file={}", self.path("vs.log"));
        let arguments = [database.as_str(), &control, &log, "-vconsole:off"];
        self.switch = Some(Process::start("ovs-vswitchd", &arguments, self.dir.path()));
    }

    /// Ends `ovs-vswitchd` without warning.
    pub(crate) fn kill_switch(&mut self) {
        self.switch = None;
    }

    /// Ends the database server without warning.
    pub(crate) fn kill_database(&mut self) {
        self.database = None;
    }

    pub(crate) fn vsctl(&self, args: &[&str]) -> String {
        let database = format!("--db=unix:{}", self.path("db.sock"));
        let mut all = vec![database.as_str(), "--timeout=10"];
        all.extend_from_slice(args);
        tool("ovs-vsctl", &all)
    }

    /// Runs `ovs-ofctl COMMAND unix:…/BRIDGE.mgmt ARGS`.
    pub(crate) fn ofctl(&self, command: &str, bridge: &str, args: &[&str]) -> String {
        let target = format!("unix:{}", self.path(&format!("{bridge}.mgmt")));
        let mut all = vec!["-O", "OpenFlow14", "--no-stats", "--no-names", "--strict", command, &target];
        all.extend_from_slice(args);
        tool("ovs-ofctl", &all)
    }

    /// What the database holds about a bridge and its ports, without what changes by itself.
    pub(crate) fn describe(&self, bridge: &str) -> String {
        let mut text = self.vsctl(&[
            "--columns=name,ports,fail_mode,datapath_type,protocols,external_ids",
            "list",
            "bridge",
            bridge,
        ]);
        for port in self.vsctl(&["list-ports", bridge]).lines() {
            text += &self.vsctl(&["--columns=name,tag,external_ids", "list", "port", port]);
            text += &self.vsctl(&[
                "--columns=name,type,mac,ofport,ofport_request,external_ids",
                "list",
                "interface",
                port,
            ]);
        }
        text
    }
}

/// A machine at the far end of a virtual cable: a namespace with one interface, `eth0`.
pub(crate) struct Machine {
    holder: Process,
}

impl Machine {
    /// Plugs in a machine; `interface` is the near end.
    pub(crate) fn plug(interface: &str, mac: MacAddr) -> Self {
        let holder = Process::start("unshare", &["-n", "sleep", "600"], Path::new("/"));
        let pid = holder.0.id().to_string();
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        eventually("the namespace", || {
            std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|theirs| theirs != own)
                && std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() == "sleep")
        });
        let mac = mac.to_string();
        tool(
            "ip",
            &[
                "link", "add", interface, "type", "veth", "peer", "name", "eth0", "address", &mac, "netns",
                &pid,
            ],
        );
        tool("ip", &["link", "set", interface, "up"]);
        let machine = Self { holder };
        // Nothing speaks by itself: what is heard was sent by the test.
        machine.run("sysctl", &["-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
        machine.run("ip", &["link", "set", "lo", "up"]);
        machine.run("ip", &["link", "set", "eth0", "up"]);
        machine
    }

    /// Runs a tool inside that must succeed.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> String {
        let pid = self.holder.0.id().to_string();
        let mut all = vec!["-t", pid.as_str(), "-n", program];
        all.extend_from_slice(args);
        let output = Command::new("nsenter").args(&all).output().unwrap();
        checked(program, args, output)
    }

    /// Runs a function inside, on a thread of its own.
    pub(crate) fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.holder.0.id())).unwrap();
        std::thread::scope(|scope| {
            scope
                .spawn(move || {
                    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                    what()
                })
                .join()
                .unwrap()
        })
    }

    /// How many frames have come in. From here on the machine asks for nobody's Ethernet address by itself,
    /// so that no answer to that is counted.
    pub(crate) fn received(&self) -> u64 {
        self.run("ip", &["neigh", "flush", "dev", "eth0"]);
        let links: serde_json::Value =
            serde_json::from_str(&self.run("ip", &["-j", "-s", "link", "show", "eth0"])).unwrap();
        links[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
    }

    /// Turns checksum offload off, as the userspace datapath needs for TCP. `ethtool -K eth0 tx off` without ethtool.
    pub(crate) fn whole_checksums(&self) {
        let program = "import array, fcntl, socket, struct\n\
            data = array.array('B', struct.pack('II', 0x17, 0))\n\
            request = struct.pack('16sP16x', b'eth0', data.buffer_info()[0])\n\
            fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8946, request)\n";
        self.run("python3", &["-c", program]);
    }
}
