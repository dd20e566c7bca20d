# shellcheck shell=bash disable=SC2016 # variables of the lab's own shells
# Root of a container against the host and another container. Sourced by the tests of the lab and of the virtual machine.

WORD=op-dbus-escape

# Secrets on the host and in web-01, a port and an abstract socket of the host that anybody may connect to, and
# datagrams with the secret from the host to web-01 the whole time.
set_the_stage() {
    opdbus container create escape --service 80 --json >/dev/null
    lab bash -s "$WORD" "$(address_of web-01)" <<'STAGE'
set -eu
umask 077
echo "$1 of the host" >/root/secret
echo "$1 of web-01" >/var/lib/op-dbus/containers/web-01/rootfs/root/secret
systemd-run --quiet --collect --unit=escape-port perl -MSocket -e '
    socket(my $s, AF_INET, SOCK_STREAM, 0); setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);
    bind($s, pack_sockaddr_in(7777, INADDR_ANY)) or die; listen($s, 9);
    while (accept(my $c, $s)) { syswrite($c, "hello"); close($c) }'
systemd-run --quiet --collect --unit=escape-abstract perl -MSocket -e '
    socket(my $s, AF_UNIX, SOCK_STREAM, 0); bind($s, pack("S a*", AF_UNIX, "\0op-dbus-escape")) or die; listen($s, 9); sleep 1 while 1'
systemd-run --quiet --collect --unit=escape-talk perl -MSocket -e '
    socket(my $s, AF_INET, SOCK_DGRAM, 0);
    while (1) { send($s, "$ARGV[0] for web-01", 0, pack_sockaddr_in(7778, inet_aton($ARGV[1]))); select(undef, undef, undef, 0.1) }' "$1" "$2"
STAGE
    lab cp /opt/operation-dbus/tests/lab/escape/attempts /var/lib/op-dbus/containers/escape/rootfs/root/attempts
    lab sh -c "echo $WORD of its own >/var/lib/op-dbus/containers/escape/rootfs/root/own-secret"
}
clear_the_stage() {
    lab sh -c 'systemctl stop escape-port escape-abstract escape-talk; rm -rf /root/secret /root/target /root/targets /var/lib/op-dbus/containers/web-01/rootfs/root/secret' >/dev/null 2>&1
    if opdbus container show escape >/dev/null 2>&1; then opdbus container delete escape --force --yes >/dev/null; fi
}

check_escapes() {
    local disk
    set_the_stage
    # What the host offers is there for the host: the port answers, the datagrams arrive where they are meant to.
    until_true 30 lab bash -c 'exec 3<>/dev/tcp/127.0.0.1/7777 && read -r -n 5 said <&3; [[ $said == hello ]]' >/dev/null
    contains "$(inside web-01 timeout 5 perl -MSocket -e 'socket(my $s, AF_INET, SOCK_DGRAM, 0); bind($s, pack_sockaddr_in(7778, INADDR_ANY)); recv($s, my $what, 99, 0); print $what')" "$WORD"
    disk=$(lab sh -c 'stat --format=%Hd:%Ld /dev/$(basename "$(findmnt --noheadings --output SOURCE --target /var/lib/op-dbus | sed "s/\[.*//")") 2>/dev/null; lsblk --noheadings --output MAJ:MIN "$(findmnt --noheadings --output SOURCE --target /var/lib/op-dbus | sed "s/\[.*//")" | head -n1' | tail -n1 | tr -d ' ')
    inside escape bash /root/attempts "$WORD" "$disk" 10.0.0.1 "$(address_of web-01)" "$(lab hostname --all-ip-addresses | tr ' ' '\n' | grep -v '^10\.0\.0\.1$' | grep -F . | head -n1)" >"$OUT" 2>&1 || die "$(cat "$OUT")"
    if grep '^GOT' "$OUT"; then die "root of a container got something"; fi
    show "$(tail -n1 "$OUT"), all refused"
    (($(grep --count '^refused' "$OUT") >= 20)) || die "$(cat "$OUT")"
    # A set-user-id program that it made is nothing that a user of the host could reach.
    inside escape sh -c 'cp /bin/sh /root/suid && chmod 6755 /root /root/suid'
    refused lab runuser --user nobody -- /var/lib/op-dbus/containers/escape/rootfs/root/suid -c true >/dev/null
    # Links to the host, where the host writes when it starts, changes, compares and deletes a container.
    lab sh -c 'echo untouched >/root/target; mkdir -p /root/targets'
    inside escape sh -c '
        for file in /etc/hostname /etc/hosts /etc/machine-id /etc/resolv.conf /etc/passwd.lock /etc/ssh/ssh_host_ed25519_key; do ln -sfn /root/target $file; done
        rm -rf /etc/network /etc/systemd/network /var/lib/dbus; for dir in /etc/network /etc/systemd/network /var/lib/dbus /etc/opdbus; do ln -sfn /root/targets $dir; done'
    opdbus container stop escape --force >"$OUT" 2>&1 || true
    opdbus container start escape >"$OUT" 2>&1 || true
    opdbus snapshot create escape >"$OUT" 2>&1 || true
    opdbus container stop escape --force >"$OUT" 2>&1 || true
    equal untouched "$(lab cat /root/target)" "a file of the host"
    equal "" "$(lab ls -A /root/targets)" "a directory of the host"
    # The host as it was, and the peer.
    contains "$(inside web-01 hostname)" web-01
    lab test -e /var/lib/op-dbus/@timing/blockchain.db
    opdbus doctor >"$OUT" || die "$(cat "$OUT")"
}
