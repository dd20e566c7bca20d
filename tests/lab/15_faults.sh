# shellcheck shell=bash disable=SC2016 # variables of the lab's own shells
# lab: installed
# Each fault: a clear error, nothing lost, and it goes on when the fault ends.

# Whatever became of the test: those after it want room.
teardown() { room_again >/dev/null 2>&1 || true; }
# The operation $2… fails with a message that has the words $1 in it.
fails_with() {
    refused opdbus "${@:2}" >/dev/null
    contains "$(cat "$OUT")" "$1" "${*:2}"
}
is_well() {
    opdbus doctor >"$OUT" 2>&1 || die "$1: $(cat "$OUT")"
    equal "" "$(lab find /var/lib/op-dbus -maxdepth 4 -name '.opdbus-*' -not -path '*/rootfs/*')" "$1: left"
    opdbus ledger verify >/dev/null
}

test_without_open_vswitch_nothing_is_half_made_or_lost_and_it_goes_on_afterwards() {
    until_true 60 containers_run >/dev/null
    opdbus container create kept --no-start >/dev/null
    lab systemctl stop openvswitch-switch.service ovs-vswitchd.service ovsdb-server.service
    fails_with "Open vSwitch" container create never
    contains "$(cat "$OUT")" "next: " "what to do"
    refused opdbus container show never >/dev/null
    fails_with "Open vSwitch" container delete kept --yes
    # What does not need the switch works on: the container that could not be deleted is whole.
    opdbus container show kept >/dev/null
    contains "$(inside web-01 hostname)" web-01
    refused opdbus doctor >/dev/null
    contains "$(cat "$OUT")" "PROBLEM  bridge"
    lab systemctl start openvswitch-switch.service
    until_true 30 opdbus doctor >/dev/null
    opdbus container create never --no-start >/dev/null
    opdbus container delete never --yes >/dev/null
    opdbus container delete kept --yes >/dev/null
    plan_is_empty
    is_well "with Open vSwitch again"
}

test_the_daemon_outlives_the_bus() {
    local before
    before=$(opdbus ledger show --json --limit 1 | jq '.[0].id')
    # As a crash of it; systemd starts it again for whoever asks next.
    lab systemctl kill --signal=KILL dbus.service
    until_true 30 opdbus container list >/dev/null
    until_true 30 opdbus doctor >/dev/null
    (($(opdbus ledger show --json --limit 1 | jq '.[0].id') > before)) || die "nothing is recorded any more"
    lab systemctl stop dbus.service dbus.socket
    equal 7 "$(refused opdbus container list)" "unavailable"
    contains "$(cat "$OUT")" "systemctl start dbus"
    lab systemctl start dbus.socket dbus.service
    # Its unit goes down with the socket of the bus that it requires, and is started with the host or by hand.
    lab systemctl start opdbus.service
    opdbus container list >/dev/null
    is_well "with the bus again"
}

test_without_inodes_a_start_says_so_and_works_afterwards() {
    opdbus container create inodes --no-start >/dev/null
    # LXC's configuration is written where the lock is, in memory.
    lab bash -c 'mkdir -p /run/opdbus/lxc; mount -t tmpfs -o nr_inodes=2,mode=0755 tmpfs /run/opdbus/lxc; touch /run/opdbus/lxc/taken'
    fails_with "No space left on device" container start inodes
    lab umount /run/opdbus/lxc
    opdbus container start inodes >/dev/null
    equal inodes "$(inside inodes hostname)"
    opdbus container delete inodes --force --yes >/dev/null
    is_well "with inodes again"
}

test_a_file_system_that_became_read_only_is_said_and_nothing_is_lost() {
    opdbus container create kept --no-start >/dev/null
    # Nobody may have a file open for writing.
    lab systemctl stop opdbus.service opdbus.socket
    lab bash -c 'btrfs property set -ts /var/lib/op-dbus/@timing ro true'
    lab systemctl start opdbus.socket opdbus.service
    refused opdbus container create never --no-start >/dev/null
    contains "$(cat "$OUT")" "ledger"
    # What only looks is answered.
    opdbus container list >/dev/null
    lab bash -c 'btrfs property set -ts /var/lib/op-dbus/@timing ro false'
    lab systemctl restart opdbus.service
    opdbus container delete never --yes >/dev/null 2>&1 || true
    opdbus container delete kept --yes >/dev/null
    plan_is_empty
    is_well "writable again"
}

room_again() {
    lab bash -c 'rm --recursive --force /var/lib/op-dbus/filler; sync; btrfs filesystem resize max / >/dev/null'
}

# Takes all room there is, for data; `fill names` what is left for names and attributes, too.
fill() {
    lab bash -s "$1" <<'FILL' >"$OUT" 2>&1 || die "$(tail -n 3 "$OUT")"
set -eu
dir=/var/lib/op-dbus/filler
if [ "$1" = data ]; then
    # Made small first, so that it is soon full.
    used=$(btrfs filesystem show --raw / | sed -n 's/.*devid.* used \([0-9]*\) .*/\1/p')
    btrfs filesystem resize $((used + 64 * 1024 * 1024)) / >/dev/null
    mkdir "$dir"
    # What a sync gives back is taken again.
    for round in 1 2 3 4; do
        for size in 64M 4M 256K 4K; do i=0; while fallocate --length $size "$dir/$size-$round-$i" 2>/dev/null; do i=$((i + 1)); done; done
        sync
    done
else
    perl -e 'my $i = 0; my $n = "n" x 200; while ($i < 5000000) { open(my $f, ">", "$ARGV[0]/$n-$i") or last; $i++ } print "$i files\n"' "$dir"
    sync
fi
FILL
}

test_a_full_disk_is_said_and_nothing_is_lost() {
    local restarts what
    until_true 60 containers_run >/dev/null
    opdbus container create kept --no-start >/dev/null
    restarts=$(lab systemctl show --property=NRestarts --value opdbus.service)
    for what in data names; do
        fill "$what"
        refused opdbus template build full-1 --rootfs /opt/lab/guest.tar.zst >/dev/null
        contains "$(cat "$OUT")" "No space left on device" "$what: a template"
        # Whether there is room for one more snapshot is not ours to say; half of one there is not.
        for _ in 1 2 3 4; do
            opdbus container create full-1 --no-start >"$OUT" 2>&1 || grep --quiet --extended-regexp 'No space left|write failed' "$OUT" || die "$what: not said: $(cat "$OUT")"
            opdbus container list >/dev/null
            opdbus ledger show >"$OUT" 2>&1 || contains "$(cat "$OUT")" "No space left on device" "$what: the ledger"
            opdbus container delete full-1 --yes >/dev/null 2>&1 || true
            lab sync
        done
        refused opdbus doctor >/dev/null
        contains "$(cat "$OUT")" "PROBLEM  disk-space"
        # What was done and could not be recorded is reported as failed; it was done.
        contains "$(inside web-01 hostname 2>/dev/null || true)" web-01
    done
    equal "$restarts" "$(lab systemctl show --property=NRestarts --value opdbus.service)" "the daemon died"
    room_again
    # Journals that were cut short on the full disk are of no use to whoever reads on from a cursor.
    lab journalctl --quiet --rotate --vacuum-time=1s >/dev/null 2>&1 || true
    opdbus doctor --fix >"$OUT" 2>&1 || die "$(cat "$OUT")"
    opdbus container show kept >/dev/null
    opdbus container delete full-1 --yes >/dev/null 2>&1 || true
    opdbus container delete kept --yes >/dev/null
    opdbus container create after --no-start >/dev/null
    opdbus container delete after --yes >/dev/null
    equal 0 "$(opdbus template list --json | jq '[.[] | select(.name == "full-1")] | length')" "half a template"
    plan_is_empty
    is_well "with room again"
}
