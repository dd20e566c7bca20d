# shellcheck shell=bash
# What the tests of the lab tier share. Sourced by tests/lab/run and, for each test, by tests/lab/one.

set -eEuo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(cd "$HERE/../.." && pwd)
# A lab of the tests' own beside the one somebody may be working in; the cached trees are shared.
export LAB_NAME=${LAB_NAME:-test} LAB_DIR=${LAB_DIR:-$REPO/.lab}

# Why the lab tier cannot run on this machine; empty where it can.
impossible=""
lab_tier_possible() {
    if ((EUID != 0)); then
        impossible="only root can run the lab"
    elif [[ ${TIER:-lab} == vm ]]; then
        if [[ $(uname -m) != x86_64 ]]; then impossible="the virtual machine is an x86-64"; fi
    elif [[ ! -c /dev/loop-control ]]; then
        impossible="there are no loop devices here"
    fi
    [[ -z $impossible ]]
}

# On standard error, as what a test waits for may have its output thrown away.
die() {
    printf '%s\n' "$*" >&2
    exit 1
}
skip() {
    printf '%s\n' "$*"
    exit 77
}
# Ends it as skipped, also where its tier is required: it needs files that no mirror that is always to be had has.
without_files() {
    echo "$*"
    exit 78
}
# A line that the runner shows, passed or not.
show() { printf '# %s\n' "$*"; }

lab() { "$REPO/lab/run" "$@"; }
opdbus() { lab op-dbus "$@"; }
# Runs a command in a container of the lab.
inside() { lab op-dbus container exec "$1" -- "${@:2}"; }

equal() { [[ $1 == "$2" ]] || die "${3:-not equal}: expected '$1', got '$2'"; }
contains() { [[ $1 == *"$2"* ]] || die "${3:-not found}: '$2' is not in '$1'"; }
refused() {
    local status=0
    "$@" >"$OUT" 2>&1 || status=$?
    ((status != 0)) || die "not refused: $*"
    printf '%s' "$status"
}
OUT=$(mktemp)
trap 'rm -f "$OUT"' EXIT

# until_true SECONDS COMMAND…: the command succeeds within that time. Prints the seconds it took.
until_true() {
    local limit=$1 start=$EPOCHREALTIME
    shift
    until "$@" >"$OUT" 2>&1; do
        awk -v a="$start" -v b="$EPOCHREALTIME" -v l="$limit" 'BEGIN { exit !(b - a > l) }' && die "not within $limit s: $* ($(tail -n3 "$OUT"))"
        sleep 0.1
    done
    awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'
}

plan_is_empty() {
    local plan
    plan=$(opdbus plan --json)
    equal 0 "$(jq '.changes | length' <<<"$plan")" "op-dbus plan is not empty: $(jq --compact-output .changes <<<"$plan")"
}

address_of() { opdbus container show "$1" --json | jq --raw-output .address; }

# The installer, as lab/up calls it. `installer --yes …`
installer() {
    lab /opt/operation-dbus/install-opdbus.sh --yes --bin-dir /opt/programs "$@"
}
# The first time, with the template's tarball and the host spec.
install_afresh() {
    installer --rootfs /opt/lab/guest.tar.zst --config /opt/lab/host.json "$@"
}

containers_run() {
    [[ $(opdbus container list --json | jq '[.[] | select(.state == "running")] | length') == "${1:-2}" ]]
}

# What an admin had before us: a bridge with a flow, a table of nftables, a container of LXC's, a file in our directory.
admin_was_here() {
    lab bash -ec '
        ovs-vsctl add-br br-admin -- set bridge br-admin datapath_type=netdev
        ovs-vsctl add-port br-admin adm0 -- set interface adm0 type=internal
        ovs-ofctl add-flow br-admin "cookie=0xabc,priority=7,ip,actions=drop"
        nft add table inet admin; nft add chain inet admin input "{ type filter hook input priority 5; }"; nft add rule inet admin input tcp dport 4444 drop
        mkdir -p /var/lib/lxc/legacy/rootfs/etc
        printf "lxc.uts.name = legacy\nlxc.rootfs.path = dir:/var/lib/lxc/legacy/rootfs\n" >/var/lib/lxc/legacy/config
        echo mine >/var/lib/lxc/legacy/rootfs/etc/hostname
        mkdir -p /etc/opdbus; echo mine >/etc/opdbus/notes.txt'
}

# What a lab could leave behind on this machine, in lines that can be compared.
machine_state() {
    losetup --list --noheadings --output NAME,BACK-FILE | grep --invert-match "/.lab/[^/]*/disk" | sed 's/^/loop /'
    losetup --list --noheadings --output NAME,BACK-FILE | grep "$LAB_DIR/" | sed 's/^/loop /'
    awk '{ print "mount", $5 }' /proc/self/mountinfo
    ip -oneline link | awk '{ print "link", $2 }'
    find /run/netns /var/run/netns -mindepth 1 2>/dev/null | sed 's/^/netns /'
    stat --format='mode %n %a %U %G' /dev/loop* /dev/net/tun /dev/fuse /dev/btrfs-control 2>/dev/null
    find /sys/fs/cgroup -mindepth 1 -maxdepth 3 -type d -name "opdbus-lab-${NAME:-$LAB_NAME}*" | sed 's/^/cgroup /'
    find /run/systemd/nspawn -name "opdbus-lab-${NAME:-$LAB_NAME}*" 2>/dev/null | sed 's/^/nspawn /'
    local own process
    own=$(readlink /proc/self/ns/pid)
    for process in /proc/[0-9]*; do
        # Somebody may have a lab up beside the tests'.
        if grep --quiet 'opdbus-lab-' "$process/cgroup" 2>/dev/null && ! grep --quiet "opdbus-lab-${NAME:-$LAB_NAME}" "$process/cgroup" 2>/dev/null; then continue; fi
        # In another process-id namespace: something of a lab or of a container.
        [[ $(readlink "$process/ns/pid_for_children" 2>/dev/null || echo "$own") == "$own" ]] ||
            echo "process $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null)"
    done
    pgrep --full --list-name "(systemd-nspawn|mmdebstrap).*$REPO" | sed 's/^/process /' || true
    # What of it is in no namespace of its own.
    for process in /proc/[0-9]*; do
        if grep --quiet "opdbus-lab-${NAME:-$LAB_NAME}-" "$process/cgroup" 2>/dev/null; then
            echo "process of the lab $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null)"
        fi
    done
    ss --no-header --listening --tcp --udp --numeric 2>/dev/null | awk '{ print "port", $1, $5 }'
}

# nothing_new BEFORE: nothing is there now that was not then. The kernel ends namespaces and interfaces a
# moment after their last process.
nothing_new() {
    local try new=""
    for ((try = 0; try < 50; try++)); do
        new=$(comm -13 <(sort -u <<<"$1") <(machine_state | sort -u))
        if [[ -z $new ]]; then return 0; fi
        sleep 0.2
    done
    die "left behind: $new"
}
