# shellcheck shell=bash disable=SC2016 # variables of the container's own shell
# lab: installed
# Templates of another distribution: Alpine, from its mini root file system and a small repository of its own
# (tests/alpine-repository), brought in as a file and started by LXC.

teardown() {
    lab sh -c 'op-dbus container delete small-01 --force --yes; op-dbus template remove small --yes; rm -f /root/small.tar' \
        >/dev/null 2>&1 || true
}

# A root file system of Alpine with OpenRC in it, as its own apk leaves it.
alpine_rootfs() {
    [[ -n ${OPDBUS_TEST_ALPINE:-} ]] || without_files "OPDBUS_TEST_ALPINE names no repository (tests/alpine-repository)"
    local root=$1 packages
    tar -xzf "$OPDBUS_TEST_ALPINE/minirootfs.tar.gz" -C "$root"
    packages=$(echo "$OPDBUS_TEST_ALPINE"/v*/main/*/openrc-*.apk)
    cp "$packages" "$root/openrc.apk"
    : >"$root/etc/apk/repositories"
    chroot "$root" /sbin/apk --no-network --no-cache add /openrc.apk >/dev/null
    rm "$root/openrc.apk"
}

test_alpine_starts_in_lxc_has_its_address_and_stops_when_told() {
    local root seconds before
    root=$(mktemp -d)
    alpine_rootfs "$root"
    tar -cf - -C "$root" . | lab sh -c 'cat >/root/small.tar'
    rm -rf "$root"
    opdbus template import small /root/small.tar --json >"$OUT"
    contains "$(jq --raw-output '[.distribution, .source, .checksum] | join(" ")' "$OUT")" "alpine tarball sha256:"
    opdbus container create small-01 --template small --json >/dev/null
    show "running after $(until_true 60 inside small-01 sh -c '[ "$(rc-status --runlevel)" = default ]') s"
    contains "$(inside small-01 ip -4 -o address show eth0)" "$(address_of small-01)/"
    equal small-01 "$(inside small-01 hostname)"
    contains "$(inside small-01 cat /etc/opdbus/template)" TEMPLATE=small
    equal "" "$(inside small-01 rc-status --crashed)" "services that crashed"
    until_true 10 inside small-01 ping -c1 -W1 "$(lab sh -c "ip -4 -o address show veth-socket | awk '{print \$4}' | cut -d/ -f1")" >/dev/null
    before=$EPOCHREALTIME
    opdbus container stop small-01 >/dev/null
    seconds=$(awk -v a="$before" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
    show "stopped in $seconds s"
    awk -v s="$seconds" 'BEGIN { exit !(s < 20) }' || die "busybox' init did not end when it was told to: $seconds s"
}
