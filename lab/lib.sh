# What the lab's commands share. Sourced, not run.
# shellcheck shell=bash
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
name=${OPDBUS_LAB_NAME:-opdbus-lab}
dir=${OPDBUS_LAB_DIR:-$repo/.lab}
state=$dir/$name
disk=$state/disk
root=$disk/run

# The packages of the lab's tree: what the installer wants to find, what a booted Debian needs, and what tests use.
tree_packages=systemd-sysv,udev,kmod,dbus,btrfs-progs,openvswitch-switch,lxc,libpam-systemd,nftables,iproute2,ethtool
tree_packages+=,mmdebstrap,tar,zstd,curl,python3-minimal,iputils-ping,procps,util-linux,ca-certificates,sudo,attr
# The packages of the containers' template: a service and its client.
template_packages=systemd-sysv,dbus,iproute2,iputils-ping,procps,curl,nginx-light,ca-certificates,tzdata

say() { echo "lab: $*" >&2; }
die() {
    echo "lab: error: $*" >&2
    exit 1
}

need_root() { [[ $EUID -eq 0 ]] || die "only root can run the lab: it mounts, boots and makes namespaces"; }

# The init of the running lab, as the machine sees it; nothing where it does not run.
leader() {
    local pid
    pid=$(cat "$state/leader" 2>/dev/null) || return 1
    # The process id may be somebody else's by now.
    [[ $(cat "/proc/$pid/root/etc/opdbus-lab" 2>/dev/null) == "$name" ]] || return 1
    echo "$pid"
}

# Runs a command in the lab, in all its namespaces, with nothing of this shell's environment.
enter() {
    local pid
    pid=$(leader) || die "the lab $name does not run; start it with lab/up"
    # In the lab's own cgroup, too: one from outside would have no name in its cgroup namespace.
    local cgroup
    cgroup=$(cat "$state/cgroup")/payload/lab-run.scope
    mkdir -p "$cgroup"
    (echo "$BASHPID" >"$cgroup/cgroup.procs" && exec nsenter --target "$pid" --all --wdns=/ -- /usr/bin/env --ignore-environment \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 "$@")
}

# The mirror this machine uses; mmdebstrap's own default where it is no Debian.
mirror() {
    sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/debian.* 2>/dev/null |
        grep -v security | head -n 1 || true
}

seconds() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(seconds)" 'BEGIN { printf "%.1f s", b - a }'; }
