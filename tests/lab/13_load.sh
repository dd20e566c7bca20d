# shellcheck shell=bash disable=SC2016 # variables of the lab's own shells
# lab: installed
# Many at once: every answer is right, nothing is shared that must not be, and nothing is left. LAB_LOAD_SECONDS=300 for
# the long run.

# What could leak, counted.
counts() {
    lab bash -euc '
        pid=$(systemctl show --property=MainPID --value opdbus.service)
        echo "descriptors $(ls /proc/$pid/fd | wc -l)"
        echo "ports $(ovs-vsctl list-ports ovsbr0 | wc -l)"
        echo "flows $(ovs-ofctl dump-flows ovsbr0 --no-stats | wc -l)"
        echo "subvolumes $(btrfs subvolume list /var/lib/op-dbus | wc -l)"
        echo "directories $(find /var/lib/op-dbus/containers /var/lib/op-dbus/sockets /run/opdbus -mindepth 1 -not -path "*/rootfs/*" | wc -l)"'
}
# Of its own: the pages of files in memory (the program, SQLite's shared memory) are the kernel's to take back.
resident() { lab bash -c 'awk "/RssAnon/ { print \$2 }" /proc/$(systemctl show --property=MainPID --value opdbus.service)/status'; }

# burst SECONDS: 64 clients for so long; how many containers they made is the last line of $OUT.
burst() {
    lab bash -s "$1" >"$OUT" 2>&1 <<'LOAD' || die "$(tail -n 20 "$OUT")"
set -euo pipefail
end=$((SECONDS + $1)) api=/var/lib/op-dbus/sockets/api/opdbus.sock
dir=$(mktemp -d)
by_socket() { curl --silent --show-error --max-time 60 --unix-socket "$api" --data "$2" "http://opdbus/v1/operations/$1"; }
wrong() { echo "client $client: $*" >>"$dir/wrong"; exit 1; }
# A client makes a container, finds it as it was made, and deletes it: half of them on the bus, half on the socket, where
# one user may have 32 connections.
client() {
    local client=$1 round=0 name made address
    while ((SECONDS < end)); do
        round=$((round + 1)) name=load-$client-$round
        if ((client % 2)); then
            made=$(op-dbus container create "$name" --no-start --json) || wrong "create: $made"
            address=$(jq --raw-output .address <<<"$made")
            [[ $(op-dbus container show "$name" --json | jq --raw-output .address) == "$address" ]] || wrong "show $name"
            op-dbus container list | grep --quiet "^$name .* $address " || wrong "list lacks $name at $address"
            op-dbus container delete "$name" --yes >/dev/null || wrong "delete $name"
            ! op-dbus container show "$name" >/dev/null 2>&1 || wrong "$name is there after its deletion"
        else
            made=$(by_socket container.create "{\"name\": \"$name\", \"noStart\": true}")
            address=$(jq --raw-output .address <<<"$made")
            [[ $address == 10.0.0.* ]] || wrong "create: $made"
            [[ $(by_socket container.show "{\"name\": \"$name\"}" | jq --raw-output .address) == "$address" ]] || wrong "show $name"
            by_socket container.create "{\"name\": \"$name\"}" | jq --exit-status '.error.kind == "conflict"' >/dev/null || wrong "made $name twice"
            by_socket container.delete "{\"name\": \"$name\"}" | jq --exit-status .done >/dev/null || wrong "delete $name"
            by_socket container.show "{\"name\": \"$name\"}" | jq --exit-status '.error.kind == "not-found"' >/dev/null || wrong "$name is there after its deletion"
        fi
        echo x >>"$dir/rounds"
    done
}
for client in $(seq 64); do client "$client" & done
while ((SECONDS < end)); do
    # No two that are there at once share an address or an interface.
    op-dbus container list --json >"$dir/list"
    jq --exit-status '(map(.address) | length == (unique | length)) and (map(.interface) | length == (unique | length))' "$dir/list" >/dev/null ||
        { client=list && echo "two share an address: $(jq --compact-output 'map({name, address})' "$dir/list")" >>"$dir/wrong"; }
    sleep 0.2
done
wait
if [[ -s $dir/wrong ]]; then head -n 20 "$dir/wrong"; exit 1; fi
wc -l <"$dir/rounds"
rm -r "$dir"
LOAD
}

test_64_clients_at_once_get_right_answers_and_leave_nothing() {
    local before after resident_before resident_after seconds=${LAB_LOAD_SECONDS:-20}
    until_true 60 containers_run >/dev/null
    # What a first burst makes once (threads, caches, the high-water mark of the heap) is no leak; what a second one adds is.
    # How high that is grows with the number of containers for a while: 4 MiB after 150, 10 after 600, 11 after 3,000.
    burst $((seconds > 75 ? seconds / 5 : 15))
    sleep 15
    before=$(counts) resident_before=$(resident)
    burst "$seconds"
    show "$(tail -n1 "$OUT") containers made, looked at and deleted by 64 clients in $seconds s"
    # The threads of a burst end when they have had nothing to do for a while.
    sleep 15
    after=$(counts) resident_after=$(resident)
    equal "$before" "$after" "what is there after"
    ((resident_after < resident_before + 4096)) || die "the daemon grew from $resident_before to $resident_after KiB"
    show "the daemon: $resident_before KiB of its own before, $resident_after KiB after"
    plan_is_empty
    opdbus doctor >"$OUT" || die "$(cat "$OUT")"
}
