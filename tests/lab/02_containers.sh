# shellcheck shell=bash
# lab: installed
# What the installation is for: containers that reach what they were granted, and nothing else.

SOCKET=/var/lib/op-dbus/sockets/containers/web-02/web-02.sock
teardown() {
    local name
    lab sh -c 'if test -e /root/host-spec; then mv /root/host-spec /etc/opdbus/config.json; fi'
    for name in web-03 web-04; do
        if opdbus container show "$name" >/dev/null 2>&1; then opdbus container delete "$name" --force --yes >/dev/null; fi
    done
}

test_two_declared_containers_run() {
    equal "web-01 running web-02 running" \
        "$(opdbus container list --json | jq --raw-output '[.[] | .name, .state] | join(" ")')"
    equal running "$(inside web-01 systemctl is-system-running)"
    equal running "$(inside web-02 systemctl is-system-running)"
}

test_a_granted_service_answers_over_its_socket_and_over_ip() {
    contains "$(inside web-01 curl --silent --show-error --max-time 5 --unix-socket "$SOCKET" http://web-02/)" nginx
    contains "$(inside web-01 curl --silent --show-error --max-time 5 "http://$(address_of web-02)/")" nginx
}

test_a_container_without_the_grant_has_no_way() {
    local address
    address=$(address_of web-02)
    opdbus container create web-03 --template debian-base --network socket --json >/dev/null
    equal "" "$(inside web-03 find / -xdev -name web-02.sock)" "the socket"
    refused inside web-03 curl --silent --max-time 2 --unix-socket "$SOCKET" http://web-02/ >/dev/null
    refused inside web-03 curl --silent --max-time 2 "http://$address/" >/dev/null
    refused inside web-03 ping -c1 -W1 "$address" >/dev/null
    # Nor as somebody who was granted it: with its address, or with its address and its MAC.
    lab op-dbus container exec web-03 -- sh -c "ip address add $(address_of web-01)/24 dev eth0 && ! curl --silent --max-time 2 --interface $(address_of web-01) http://$address/"
    # The same container with the grant does reach it: the way is closed, not broken.
    opdbus container create web-04 --connect web-02 --json >/dev/null
    contains "$(inside web-04 curl --silent --max-time 5 --unix-socket "$SOCKET" http://web-02/)" nginx
    contains "$(inside web-04 curl --silent --max-time 5 "http://$address/")" nginx
}

test_a_grant_goes_one_way() {
    refused inside web-02 curl --silent --max-time 2 "http://$(address_of web-01)/" >/dev/null
    equal "" "$(inside web-02 find / -xdev -name 'web-01*')"
}

test_a_container_cannot_write_where_its_peer_listens() {
    refused inside web-01 touch "${SOCKET%/*}/planted" >/dev/null
    refused inside web-01 rm -f "$SOCKET" >/dev/null
}

test_a_rehearsal_says_what_would_change_and_changes_nothing() {
    local before after address said
    seen() { lab sh -c 'op-dbus container list --json; op-dbus template generations debian-base --json; ovs-vsctl list-ports ovsbr0; ls -A /var/lib/op-dbus/containers /var/lib/op-dbus/@templates'; }
    rehearsed() { opdbus "$@" --dry-run --json | jq --raw-output '.changes[] | .action, .object, .detail' | paste --serial --delimiters=' '; }
    before=$(seen)
    said=$(rehearsed container create web-03)
    contains "$said" "create container web-03 from template debian-base, network socket, address 10.0.0."
    address=$(grep --only-matching '10\.0\.0\.[0-9]*' <<<"$said")
    equal "update container web-01 stopped" "$(rehearsed container stop web-01)"
    equal "" "$(rehearsed container start web-01)" "it runs"
    contains "$(rehearsed template refresh debian-base)" "update template debian-base built anew: from /opt/lab/guest.tar.zst"
    equal 5 "$(refused opdbus container create web-01 --dry-run)"
    equal 5 "$(refused opdbus template remove debian-base --yes --dry-run)"
    equal 5 "$(refused opdbus template build debian-base --dry-run)"
    equal 4 "$(refused opdbus template rollback debian-base 20200101T000000Z-00000000 --dry-run)"
    after=$(seen)
    equal "$before" "$after"
    opdbus container create web-03 --no-start --json >/dev/null
    equal "$address" "$(address_of web-03)" "the address that was said"
}

test_what_a_deleted_container_had_is_gone() {
    local before after
    everything() {
        lab bash -c '
            find /var/lib/op-dbus -maxdepth 4 -path "*/rootfs" -prune -o -print | grep -v @timing
            btrfs subvolume list / | sed "s/.* path //"
            ovs-vsctl --columns=name list interface
            ovs-ofctl -O OpenFlow14 --no-stats dump-flows ovsbr0 | sort
            ip -oneline link | cut -d: -f2
            systemctl list-units --plain --no-legend "opdbus-container@*" | cut -d" " -f1
            find /run/opdbus /sys/fs/cgroup -name "*web-0[3-9]*"' | sort
    }
    until_true 20 inside web-01 test -S "$SOCKET" >/dev/null
    before=$(everything)
    opdbus container create web-03 --connect web-02 --service 80 --json >/dev/null
    contains "$(everything)" web-03 "the test would see it"
    opdbus container delete web-03 --force --yes
    after=$(everything)
    [[ $before == "$after" ]] || die "left: $(diff <(echo "$before") <(echo "$after"))"
    plan_is_empty
}

test_a_container_that_leaves_the_spec_stays_as_it_is_and_the_plan_says_so() {
    local name said init file=/var/lib/op-dbus/containers/web-03/rootfs/root/mine
    lab cp /etc/opdbus/config.json /root/host-spec
    lab cat /root/host-spec | jq '.containers += { "web-03": {}, "web-04": { "autostart": false } }' | lab tee /etc/opdbus/config.json >/dev/null
    opdbus apply >/dev/null
    until_true 20 containers_run 3 >/dev/null
    lab sh -c "echo mine >$file"
    init=$(lab systemctl show --property=MainPID,ActiveEnterTimestamp opdbus-container@web-03.service)
    lab cp /root/host-spec /etc/opdbus/config.json
    said=$(opdbus plan)
    for name in web-03 web-04; do contains "$said" "container $name: no longer declared: kept as it is"; done
    opdbus apply >/dev/null
    equal "web-03 manual running web-04 manual stopped" \
        "$(opdbus container list --json | jq --raw-output '[.[] | select(.origin == "manual") | .name, .origin, .state] | join(" ")')"
    equal "$init" "$(lab systemctl show --property=MainPID,ActiveEnterTimestamp opdbus-container@web-03.service)" "the container was restarted"
    equal mine "$(lab cat "$file")"
    plan_is_empty
}

test_a_container_of_mesh_is_refused_with_a_sentence() {
    refused opdbus container create web-03 --network mesh >/dev/null
    contains "$(cat "$OUT")" mesh
    refused opdbus container show web-03 >/dev/null
}

test_limits_are_in_the_container_s_configuration() {
    local json
    json=$(opdbus container show web-01 --json)
    equal "2 2048 512" "$(jq --raw-output '.limits | "\(.cores) \(.memory) \(.swap)"' <<<"$json")"
}

test_every_call_is_in_the_ledger_with_its_caller() {
    local entry
    opdbus container create web-03 --no-start --json >/dev/null
    entry=$(opdbus ledger show --json --operation container.create --target web-03 --limit 1)
    equal "root ok dbus" "$(jq --raw-output '.[0].metadata | "\(.caller.user) \(.outcome) \(.caller.via)"' <<<"$entry")"
    # A failure too.
    refused opdbus container create web-03 --no-start >/dev/null
    entry=$(opdbus ledger show --json --operation container.create --target web-03 --limit 1)
    equal failed "$(jq --raw-output '.[0].metadata.outcome' <<<"$entry")"
    opdbus ledger verify
}

test_a_killed_daemon_takes_no_container_down() {
    local before
    before=$(lab pgrep --full 'lxc-start' | sort)
    lab systemctl kill --signal=KILL opdbus.service
    until_true 20 opdbus container list >/dev/null
    equal "$before" "$(lab pgrep --full 'lxc-start' | sort)"
    containers_run 2
}

test_everything_comes_back_after_a_reboot() {
    lab touch /run/before-the-reboot
    lab systemctl reboot || true
    # With a limit each: nsenter stops when what it runs is stopped, as systemd does at the end, and is then waited for.
    # shellcheck disable=SC2016 # the lab's shell
    until_true 60 timeout --kill-after=1 5 "$REPO/lab/run" bash -c '! test -e /run/before-the-reboot && [[ $(systemctl is-system-running) == running ]]' >/dev/null
    until_true 30 containers_run 2 >/dev/null
    plan_is_empty
    until_true 20 inside web-01 curl --silent --max-time 2 --unix-socket "$SOCKET" http://web-02/ >/dev/null
    contains "$(inside web-01 curl --silent --max-time 5 "http://$(address_of web-02)/")" nginx
}

test_a_container_that_is_started_again_is_reached_as_before() {
    for _ in {1..10}; do
        opdbus container stop web-02
        opdbus container start web-02
        until_true 10 inside web-01 curl --silent --max-time 2 "http://$(address_of web-02)/" >/dev/null
        until_true 10 inside web-01 curl --silent --max-time 2 --unix-socket "$SOCKET" http://web-02/ >/dev/null
    done
    plan_is_empty
}
