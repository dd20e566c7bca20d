"""What containers cost, on an installed host, beside what a user would pick instead. Run in the lab, as root, by
benches/run; prints the lines of its table. Medians, in one run; each thing in turn with what it is held against.
"""
import fcntl, json, os, socket, sqlite3, struct, subprocess, sys, time

BASE = "/var/lib/op-dbus"
TEMPLATE = BASE + "/@templates/debian-base/rootfs"
TIMES = int(os.environ.get("BENCH_TIMES", "15"))
MANY = int(os.environ.get("BENCH_CONTAINERS", "1000"))


def line(what, ratio, most, how, least=False):
    holds = ratio >= most if least else ratio <= most
    limit = f"at {'least' if least else 'most'} {most:g}"
    print(f"bench | {what} | {ratio:.2f} | {limit} | {'holds' if holds else 'short'} | {how}", flush=True)


def told(what, ours, theirs):
    """What nothing is promised of, to tell where the time goes."""
    print(f"bench | {what} | {ours / theirs:.2f} | | | {ours:.1f} ms : {theirs:.1f} ms", flush=True)


def beside(what, ours, theirs, most):
    line(what, ours / theirs, most, f"{ours:.1f} ms : {theirs:.1f} ms")


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def ms(f, *arguments):
    start = time.perf_counter()
    f(*arguments)
    return (time.perf_counter() - start) * 1000


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


def said(what):
    print("#", what, file=sys.stderr, flush=True)


# The parts: what a container cannot be made or deleted without, by the shortest way there is.
def snapshot(name):
    """BTRFS_IOC_SNAP_CREATE_V2"""
    source, into = os.open(TEMPLATE, os.O_RDONLY), os.open(BASE, os.O_RDONLY)
    fcntl.ioctl(into, 0x50009417, bytearray(struct.pack("=qQQ32x4040s", source, 0, 0, name.encode())))
    os.close(source), os.close(into)


def destroy(name):
    """BTRFS_IOC_SNAP_DESTROY"""
    into = os.open(BASE, os.O_RDONLY)
    fcntl.ioctl(into, 0x5000940F, bytearray(struct.pack("=q4088s", 0, name.encode())))
    os.close(into)


def commit():
    """BTRFS_IOC_SYNC"""
    into = os.open(BASE, os.O_RDONLY)
    fcntl.ioctl(into, 0x9408)
    os.close(into)


class Ovsdb:
    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect("/run/openvswitch/db.sock")

    def transact(self, *operations):
        self.socket.sendall(json.dumps({"method": "transact", "params": ["Open_vSwitch", *operations], "id": 1}).encode())
        answer = b""
        while True:
            answer += self.socket.recv(65536)
            try:
                result = json.loads(answer)
            except ValueError:
                continue
            if result.get("error") or any("error" in r for r in result["result"] if r):
                sys.exit(f"Open vSwitch: {result}")
            return result["result"]

    def add(self, name):
        self.transact(
            {"op": "insert", "table": "Interface", "uuid-name": "i", "row": {"name": name}},
            {"op": "insert", "table": "Port", "uuid-name": "p", "row": {"name": name, "interfaces": ["named-uuid", "i"]}},
            {"op": "mutate", "table": "Bridge", "where": [["name", "==", "ovsbr0"]],
             "mutations": [["ports", "insert", ["set", [["named-uuid", "p"]]]]]})

    def remove(self, name):
        port = self.transact({"op": "select", "table": "Port", "where": [["name", "==", name]], "columns": ["_uuid"]})
        self.transact({"op": "mutate", "table": "Bridge", "where": [["name", "==", "ovsbr0"]],
                       "mutations": [["ports", "delete", ["set", [port[0]["rows"][0]["_uuid"]]]]]})


def create_and_delete():
    ovsdb = Ovsdb()
    ledger = sqlite3.connect(BASE + "/bench.db", isolation_level=None)
    ledger.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE entries (id INTEGER PRIMARY KEY, what TEXT)")
    insert = lambda: ledger.execute("INSERT INTO entries (what) VALUES (?)", ("x" * 400,))
    os.makedirs("/var/lib/lxc/bench", exist_ok=True)
    run("btrfs", "subvolume", "snapshot", TEMPLATE, "/var/lib/lxc/bench/rootfs")
    with open("/var/lib/lxc/bench/config", "w") as config:
        config.write("lxc.uts.name = bench\nlxc.rootfs.path = btrfs:/var/lib/lxc/bench/rootfs\n")
    times = {what: [] for what in ("create", "delete", "copy", "snapshot", "port", "insert", "destroy", "unport", "commit")}
    for i in range(TIMES):
        times["create"].append(ms(run, "op-dbus", "container", "create", "bench", "--no-start"))
        times["copy"].append(ms(run, "lxc-copy", "--name", "bench", "--newname", "bench-copy", "--snapshot", "--backingstorage", "btrfs"))
        times["snapshot"].append(ms(snapshot, "bench-part"))
        times["port"].append(ms(ovsdb.add, "bench-port"))
        times["insert"].append(ms(insert))
        times["delete"].append(ms(run, "op-dbus", "container", "delete", "bench", "--yes"))
        times["destroy"].append(ms(destroy, "bench-part"))
        times["unport"].append(ms(ovsdb.remove, "bench-port"))
        times["commit"].append(ms(commit))
        run("lxc-destroy", "--name", "bench-copy")
    run("btrfs", "subvolume", "delete", "/var/lib/lxc/bench/rootfs")
    run("rm", "-r", "/var/lib/lxc/bench", BASE + "/bench.db")
    for leftover in "-wal", "-shm":
        if os.path.exists(BASE + "/bench.db" + leftover):
            os.unlink(BASE + "/bench.db" + leftover)
    m = {what: median(t) for what, t in times.items()}
    said(", ".join(f"{what} {t:.1f} ms" for what, t in m.items()))
    beside("`container create`, all of it, to `lxc-copy -s -B btrfs`, the clone alone", m["create"], m["copy"], 1)
    parts = m["snapshot"] + m["port"] + m["insert"]
    beside("`container create` to the snapshot's ioctl, an OVS port and a durable insert", m["create"], parts, 2)
    beside("`container delete` to the subvolume's ioctl and an OVS port", m["delete"], m["destroy"] + m["unport"], 2)
    told("the same to the ioctl, the port and a durable insert", m["delete"], m["destroy"] + m["unport"] + m["insert"])
    told("the same to the ioctl, the port and a commit of the file system", m["delete"], m["destroy"] + m["unport"] + m["commit"])


def until_running(*attach):
    for _ in range(3000):
        done = subprocess.run([*attach, "systemctl", "is-system-running"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if done.stdout.strip() in ("running", "degraded"):
            return
        time.sleep(0.02)
    sys.exit("the container does not come up")


def start():
    """The same tree under the same kind of configuration, by lxc-start itself."""
    run("op-dbus", "container", "create", "bench-start")
    with open("/run/opdbus/lxc/bench-start/config") as config:
        lines = [l for l in config if not l.startswith(("lxc.uts", "lxc.rootfs", "lxc.net", "lxc.mount.entry", "lxc.hook", "lxc.console.log", "lxc.cgroup.relative"))]
    run("op-dbus", "container", "delete", "bench-start", "--force", "--yes")
    os.makedirs("/var/lib/lxc/bench", exist_ok=True)
    run("btrfs", "subvolume", "snapshot", TEMPLATE, "/var/lib/lxc/bench/rootfs")
    with open("/var/lib/lxc/bench/config", "w") as config:
        config.writelines(lines)
        config.write("lxc.uts.name = bench\nlxc.rootfs.path = dir:/var/lib/lxc/bench/rootfs\nlxc.rootfs.options = idmap=container\nlxc.net.0.type = empty\n")
    ours, theirs = [], []
    for i in range(max(TIMES // 3, 5)):
        begin = time.perf_counter()
        run("op-dbus", "container", "create", "bench-start")
        until_running("lxc-attach", "--lxcpath", "/run/opdbus/lxc", "--name", "bench-start", "--")
        ours.append((time.perf_counter() - begin) * 1000)
        run("op-dbus", "container", "delete", "bench-start", "--force", "--yes")
        begin = time.perf_counter()
        # As our unit does: with its own part of the control groups, and no newuidmap, which asks /etc/subuid.
        run("systemd-run", "--quiet", "--collect", "--unit=bench-lxc", "--property=Type=forking", "--property=Delegate=yes",
            "--property=InaccessiblePaths=-/usr/bin/newuidmap -/usr/bin/newgidmap", "lxc-start", "--name", "bench")
        until_running("lxc-attach", "--name", "bench", "--")
        theirs.append((time.perf_counter() - begin) * 1000)
        run("lxc-stop", "--kill", "--name", "bench")
    time.sleep(1)
    run("btrfs", "subvolume", "delete", "/var/lib/lxc/bench/rootfs")
    run("rm", "-r", "/var/lib/lxc/bench")
    beside("create and start until systemd runs inside, to `lxc-start` of a tree that is there", median(ours), median(theirs), 1.25)


def a_thousand():
    """In a subnet that has room for them."""
    with open("/etc/opdbus/config.json") as file:
        before = file.read()
    wider = json.loads(before)
    wider.setdefault("ovs", {})["subnet"] = "10.0.0.0/20"

    def apply(text):
        with open("/etc/opdbus/config.json", "w") as file:
            file.write(text)
        run("op-dbus", "apply")

    def bare():
        """The kernel's part alone: twenty clones by the ioctl."""
        took = [ms(snapshot, f"bench-{i}") for i in range(20)]
        for i in range(20):
            destroy(f"bench-{i}")
        return median(took)

    apply(json.dumps(wider))
    bare_first = bare()
    first, last = [], []
    for i in range(MANY):
        took = ms(run, "op-dbus", "container", "create", f"many-{i}", "--no-start")
        (first if i < 20 else last if i >= MANY - 20 else []).append(took)
        if i % 100 == 99:
            said(f"{i + 1} containers")
    beside(f"the {MANY}th container to the first (medians of 20)", median(last), median(first), 1.5)
    told(f"the snapshot's ioctl alone, with {MANY} containers to without", bare(), bare_first)
    for i in range(MANY):
        run("op-dbus", "container", "delete", f"many-{i}", "--yes")
    apply(before)


def quiet():
    run("systemctl", "restart", "opdbus.service")
    run("op-dbus", "container", "list")
    time.sleep(20)
    pid = run("systemctl", "show", "--property=MainPID", "--value", "opdbus.service").strip()

    def wakes():
        total = 0
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status") as status:
                total += sum(int(l.split()[1]) for l in status if l.startswith("voluntary_ctxt_switches"))
        return total

    with open(f"/proc/{pid}/status") as status:
        resident = next(int(l.split()[1]) for l in status if l.startswith("VmRSS")) / 1024
    line("MiB resident of `opdbusd` at rest", resident, 20, f"{resident:.1f} MiB")
    before = wakes()
    time.sleep(30)
    line("times a minute that `opdbusd` wakes up at rest", (wakes() - before) * 2, 0, "in 30 s")


def plan():
    pid = run("systemctl", "show", "--property=MainPID", "--value", "opdbus.service").strip()
    tracer = subprocess.Popen(["strace", "--follow-forks", "--quiet=all", "--trace=execve", "--output=/tmp/plan.strace", f"--attach={pid}"], stderr=subprocess.DEVNULL)
    time.sleep(1)
    run("op-dbus", "plan")
    time.sleep(0.5)
    tracer.terminate()
    tracer.wait()
    with open("/tmp/plan.strace") as trace:
        started = [l for l in trace if "execve(" in l and " = 0" in l]
    line("foreign processes of a plan of an installed host", len(started), 10, "counted by strace")


def incus():
    what = "`container create` to `incus copy`, of the same tree on the same file system"
    if subprocess.run(["which", "incus"], stdout=subprocess.DEVNULL).returncode:
        print(f"bench | {what} |  | at most 0.25 | not measured | Incus is not installed", flush=True)
        return
    pool = BASE + "/incus-bench"
    run("btrfs", "subvolume", "create", pool)
    run("incus", "storage", "create", "bench", "btrfs", "source=" + pool)
    run("incus", "create", "--empty", "origin", "--storage", "bench")
    run("cp", "--archive", "--reflink=always", TEMPLATE + "/.", pool + "/containers/origin/rootfs/")
    run("sync")
    ours, theirs = [], []
    for i in range(TIMES):
        ours.append(ms(run, "op-dbus", "container", "create", "bench", "--no-start"))
        theirs.append(ms(run, "incus", "copy", "origin", "copy"))
        run("op-dbus", "container", "delete", "bench", "--yes")
        run("incus", "delete", "copy")
    run("incus", "delete", "origin")
    run("incus", "storage", "delete", "bench")
    if os.path.exists(pool):
        run("btrfs", "subvolume", "delete", pool)
    beside(what, median(ours), median(theirs), 0.25)


PARTS = {"create": create_and_delete, "start": start, "thousand": a_thousand, "quiet": quiet, "plan": plan, "incus": incus}
for part in sys.argv[1:] or [part for part in PARTS if part != "incus"]:
    PARTS[part]()
