# shellcheck shell=bash
# lab: installed
# Snapshots and plugins, through the daemon on an installed host.

API=/var/lib/op-dbus/sockets/api/opdbus.sock
SNAPSHOTS=/var/lib/op-dbus/@snapshots

teardown() {
    local name
    lab sh -c 'if test -e /root/host-spec; then mv /root/host-spec /etc/opdbus/config.json; fi; rm -f /root/*.plugin'
    opdbus plugin enable lxc >/dev/null
    for name in $(opdbus snapshot list --json | jq --raw-output '.[] | select(.label != "initial") | .name'); do
        opdbus snapshot keep "$name" --off >/dev/null
        opdbus snapshot delete "$name" --yes >/dev/null
    done
}

snapshot_of() { opdbus snapshot create "${@:2}" --of "$1" --json | jq --raw-output '.[0].name'; }
last() { opdbus ledger show --json --operation "$1" --limit 1; }

test_the_installer_took_snapshots_of_the_initial_state() {
    equal "@plugins/lxc @plugins/netmaker @plugins/ovs @plugins/systemd @state" \
        "$(opdbus snapshot list --label initial --json | jq --raw-output '[.[] | select(.state == "whole") | .subject] | sort | join(" ")')"
}

test_a_first_snapshot_that_a_killed_installer_left_half_made_is_made_anew() {
    local name
    name=$(opdbus snapshot list --label initial --of @plugins/lxc --json | jq --raw-output '.[0].name')
    lab mv "$SNAPSHOTS/$name" "$SNAPSHOTS/.opdbus-make-$name"
    lab rm /etc/opdbus/installed
    installer >/dev/null
    plan_is_empty
    test_the_installer_took_snapshots_of_the_initial_state
    equal "" "$(lab find "$SNAPSHOTS" -maxdepth 1 -name '.opdbus-*')"
}

test_a_container_is_put_back_as_it_was_and_runs_again() {
    local name before status
    inside web-01 sh -c 'echo then >/root/mine; rm -f /root/new'
    name=$(snapshot_of container/web-01 works --keep --why "the release that worked")
    contains "$name" container-web-01-
    lab test -e "$SNAPSHOTS/$name/root/mine"
    refused lab touch "$SNAPSHOTS/$name/root/planted" >/dev/null
    inside web-01 sh -c 'echo now >/root/mine; touch /root/new'
    contains "$(opdbus snapshot diff works)" "~ root/mine (content)"
    contains "$(opdbus snapshot diff works)" "+ root/new"

    status=$(refused opdbus snapshot restore works)
    equal 5 "$status" "it runs"
    contains "$(cat "$OUT")" "op-dbus container stop web-01"
    equal now "$(inside web-01 cat /root/mine)" "and is as it was"

    before=$(opdbus snapshot restore works --force --json | jq --raw-output .before)
    until_true 30 inside web-01 true >/dev/null
    equal "then" "$(inside web-01 cat /root/mine)"
    refused inside web-01 test -e /root/new >/dev/null
    until_true 30 inside web-01 curl --silent --show-error --max-time 5 --output /dev/null "http://$(address_of web-02)/" >/dev/null
    equal now "$(lab cat "$SNAPSHOTS/$before/root/mine")" "what was there is kept"
    plan_is_empty

    equal "ok $name" "$(last snapshot.create | jq --raw-output '.[0] | .metadata.outcome + " " + "'"$name"'"')"
    equal "ok works root" "$(last snapshot.restore | jq --raw-output '.[0] | "\(.metadata.outcome) \(.target) \(.metadata.caller.user)"')"
    status=$(refused opdbus snapshot delete works --yes)
    equal 5 "$status" "it is kept"
    opdbus snapshot keep works --off >/dev/null
    refused opdbus snapshot delete works >/dev/null
    contains "$(cat "$OUT")" "--yes"
    opdbus snapshot delete works --yes >/dev/null
    equal "ok works" "$(last snapshot.delete | jq --raw-output '.[0] | "\(.metadata.outcome) \(.target)"')"
    refused lab test -e "$SNAPSHOTS/$name" >/dev/null
    refused opdbus snapshot show "$name" >/dev/null
}

test_the_state_is_put_back_and_the_ledger_never() {
    local status
    lab sh -c 'echo then >/var/lib/op-dbus/@state/mine'
    opdbus snapshot create backup-20260131 >/dev/null
    equal "@plugins/lxc @plugins/netmaker @plugins/ovs @plugins/systemd @state @timing" \
        "$(opdbus snapshot list --label backup-20260131 --json | jq --raw-output '[.[].subject] | sort | join(" ")')"
    lab rm /var/lib/op-dbus/@state/mine
    status=$(refused opdbus snapshot restore backup-20260131)
    equal 5 "$status" "several have the label"
    opdbus snapshot restore backup-20260131 --of @state >/dev/null
    equal "then" "$(lab cat /var/lib/op-dbus/@state/mine)"
    lab rm /var/lib/op-dbus/@state/mine
    status=$(refused opdbus snapshot restore backup-20260131 --of @timing --force)
    equal 3 "$status" "the ledger"
    lab opdbus-ledger verify --db "$SNAPSHOTS/$(opdbus snapshot list --of @timing --json | jq --raw-output '.[0].name')/blockchain.db" >"$OUT" 2>&1 || true
    opdbus ledger verify >/dev/null
    plan_is_empty
}

test_the_timer_takes_what_is_due_in_its_sandbox() {
    lab systemctl is-active --quiet opdbus-snapshots.timer
    lab systemctl start opdbus-snapshots.service
    equal 0 "$(opdbus snapshot list --json | jq '[.[] | select(.reason == "schedule")] | length')" "nothing is scheduled by default"
    lab cp /etc/opdbus/config.json /root/host-spec
    lab cat /root/host-spec | jq '.snapshots = { "@state": { "schedule": "daily" }, "container/web-01": { "schedule": "hourly", "keep": { "last": 1, "hourly": 0, "daily": 0, "weekly": 0, "monthly": 0 } } }' |
        lab tee /etc/opdbus/config.json >/dev/null
    lab systemctl start opdbus-snapshots.service
    lab systemctl start opdbus-snapshots.service
    equal "@state container/web-01" "$(opdbus snapshot list --json | jq --raw-output '[.[] | select(.reason == "schedule") | .subject] | sort | join(" ")')" "one each, however often it runs"
    equal "helper schedule 2" "$(last snapshot.run | jq --raw-output '.[0] | "\(.metadata.caller.via) \(.target) \(.metadata.arguments.taken | length)"')"
    # Taken an hour ago, as far as the record knows: the next one takes its place.
    lab sh -c "sed -i 's/\"taken\": \"20[0-9][0-9]/\"taken\": \"2001/' $SNAPSHOTS/container-web-01-*.json"
    lab systemctl start opdbus-snapshots.service
    equal 1 "$(opdbus snapshot list --of container/web-01 --json | jq length)" "one is kept"
    equal 1 "$(last snapshot.run | jq '.[0].metadata.arguments.removed | length')"
    plan_is_empty
}

test_a_plugin_is_sent_and_received_and_both_are_in_the_ledger() {
    local sum name
    lab sh -c 'echo then >/var/lib/op-dbus/@plugins/lxc/state/mine'
    sum=$(lab op-dbus plugin send lxc /root/first.plugin --json | jq --raw-output .sha256)
    equal "$sum" "$(lab sh -c 'tail -n +3 /root/first.plugin | sha256sum' | cut -d' ' -f1)"
    equal "600 lxc" "$(lab sh -c 'stat --format=%a /root/first.plugin; sed -n 2p /root/first.plugin' | { read -r mode && jq --raw-output --arg mode "$mode" '$mode + " " + .name'; })"
    equal "$sum" "$(last plugin.send | jq --raw-output '.[0].metadata.result.stream.sha256')"
    equal 5 "$(refused lab op-dbus plugin receive /root/first.plugin)" "this host has it already"

    # As another host: without the snapshot that was sent.
    name=$(last plugin.send | jq --raw-output '.[0].metadata.result.stream.snapshot')
    opdbus snapshot delete "$name" --yes >/dev/null
    lab sh -c 'echo now >/var/lib/op-dbus/@plugins/lxc/state/mine'
    lab op-dbus plugin receive /root/first.plugin >/dev/null
    equal "then" "$(lab cat /var/lib/op-dbus/@plugins/lxc/state/mine)"
    equal "$sum" "$(last plugin.receive | jq --raw-output '.[0].metadata.result.stream.sha256')"
    equal dbus "$(last plugin.receive | jq --raw-output '.[0].metadata.caller.via')"

    lab sh -c 'head -c -1 /root/first.plugin >/root/cut.plugin'
    equal 3 "$(refused lab op-dbus plugin receive /root/cut.plugin)"
    contains "$(cat "$OUT")" "ends after"
    # Through a pipe, by the helper; nothing of a receive is left.
    opdbus snapshot list --of @plugins/lxc --json | jq --raw-output '.[] | select(.reason == "received") | .name' | while read -r name; do
        opdbus snapshot delete "$name" --yes >/dev/null </dev/null
    done
    lab bash -c 'set -o pipefail; cat /root/first.plugin | opdbus-plugin receive - >/dev/null'
    equal "" "$(lab find /var/lib/op-dbus -maxdepth 2 -name '.opdbus-*')"
    plan_is_empty
}

test_a_plugin_that_is_disabled_is_not_offered_and_one_that_is_wrong_is_shown() {
    opdbus plugin disable lxc >/dev/null
    equal "false true" "$(opdbus plugin list --json | jq --raw-output '[.[] | select(.name == "lxc" or .name == "ovs") | .offered] | join(" ")')"
    equal present "$(opdbus plugin show systemd --json | jq --raw-output .presence)"
    lab sh -c 'echo "version = 3" >>/var/lib/op-dbus/@plugins/ovs/plugin.toml'
    contains "$(opdbus plugin show ovs)" "plugin.toml:"
    equal "true" "$(opdbus plugin show netmaker --json | jq .valid)" "the others are not concerned"
    # shellcheck disable=SC2016 # sed's own
    lab sed -i '$d' /var/lib/op-dbus/@plugins/ovs/plugin.toml
    opdbus plugin enable lxc >/dev/null
    equal true "$(opdbus plugin show lxc --json | jq .offered)"
}

test_who_is_not_root_takes_snapshots_and_puts_none_back() {
    lab sh -c 'id member >/dev/null 2>&1 || useradd --create-home --groups opdbus member'
    local name
    as() { lab runuser --user member -- "$@"; }
    name=$(as op-dbus snapshot create --of container/web-02 --json | jq --raw-output '.[0].name')
    equal member "$(opdbus snapshot list --json | jq --raw-output ".[] | select(.name == \"$name\") | .by")"
    equal 6 "$(refused as op-dbus snapshot restore "$name" --force)"
    equal 6 "$(refused as op-dbus snapshot delete "$name" --yes)"
    equal 6 "$(refused as op-dbus plugin send lxc /tmp/mine.plugin)"
    refused lab test -e /tmp/mine.plugin >/dev/null
    equal 6 "$(refused as op-dbus plugin disable lxc)"
    # The daemon opens no file for anybody.
    refused lab curl --silent --fail-with-body --unix-socket "$API" --data '{"name": "lxc", "file": "/root/x.plugin"}' http://opdbus/v1/operations/plugin.send >/dev/null
    contains "$(cat "$OUT")" "stream"
    refused lab test -e /root/x.plugin >/dev/null
}
