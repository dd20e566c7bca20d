# shellcheck shell=bash disable=SC2034
# What the lab is made of: two trees of Debian 12, made once and kept. This whole file is the cache's key, so
# a change here makes them anew. Sourced by lab/up, after lab/lib.sh.

SUITE=bookworm

# The lab's own tree, a Debian as a user would have it: systemd, D-Bus, and what the installer installs (the
# lab has no way out, so the installer finds it there), then what the tests look with.
HOST_PACKAGES=(
    systemd-sysv udev kmod dbus ca-certificates iproute2 procps passwd
    btrfs-progs btrfs-compsize openvswitch-switch lxc lxcfs uidmap nftables ethtool mmdebstrap tar zstd
    polkitd openssh-server openssh-client
    attr curl e2fsprogs iputils-ping jq netcat-openbsd python3-minimal sqlite3 strace
)
# The containers' template: the service of the examples is a web server.
GUEST_PACKAGES=(
    systemd-sysv dbus iproute2 iputils-ping ca-certificates tzdata procps netbase
    curl nginx-light
)

# The mirror that this machine's own apt uses; nothing where that is not a Debian, and mmdebstrap takes its own.
host_mirror() {
    # shellcheck disable=SC2016 # apt's own field
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null |
        head --lines=1
}

recipe_key() {
    { cat "${BASH_SOURCE[0]}" && dpkg --print-architecture; } | sha256sum | cut -c1-12
}

# bootstrap FILE PACKAGE…: a minimal Debian with these packages, as a tarball.
bootstrap() {
    local file=$1 mirror
    shift
    mirror=$(host_mirror)
    local -a call=(
        # In a mount namespace of its own: killed, it would leave what it mounts.
        unshare --mount --propagation private --
        mmdebstrap --mode=root --variant=minbase --quiet
        --include="$(IFS=, && echo "$*")"
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"'
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*'
        "$SUITE" "$file"
    )
    if [[ -n $mirror ]]; then call+=("$mirror"); fi
    "${call[@]}"
}

# fill_root TREE TARBALL: unpacks the lab's tree and makes it a lab's.
fill_root() {
    local tree=$1 unit
    tar --extract --file "$2" --directory "$tree" --numeric-owner --preserve-permissions --xattrs-include='*'
    echo lab >"$tree/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 lab\n' >"$tree/etc/hosts"
    # Empty: systemd makes one at the first boot.
    : >"$tree/etc/machine-id"
    # lxc.service waits half a minute for a bridge that nobody has asked for.
    echo 'USE_LXC_BRIDGE="false"' >"$tree/etc/default/lxc-net"
    # No network to reach, no disks to look after.
    for unit in lxc-net.service apt-daily.timer apt-daily-upgrade.timer fstrim.timer e2scrub_all.timer e2scrub_reap.service; do
        ln -sf /dev/null "$tree/etc/systemd/system/$unit"
    done
    mkdir -p "$tree/opt/operation-dbus" "$tree/opt/programs" "$tree/opt/lab"
}
