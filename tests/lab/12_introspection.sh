# shellcheck shell=bash
# lab: installed
# What is on the system bus, and what differs from the state that was applied.

# answer COMMAND…: the JSON of op-dbus in $OUT and its status.
answer() {
    local status=0
    opdbus --json "$@" >"$OUT" 2>&1 || status=$?
    printf '%s' "$status"
}
in_answer() { jq --raw-output "$1" "$OUT"; }
# The paths of the differences, and how each differs.
differences() { in_answer '.differences[] | "\(.change) \(.path)"'; }

test_the_bus_is_shown_and_nothing_is_started_for_it() {
    lab systemctl stop systemd-hostnamed.service
    equal 0 "$(answer query bus)" "$(cat "$OUT")"
    equal "1 init.scope" "$(in_answer '.bus[] | select(.name == "org.freedesktop.systemd1") | "\(.pid) \(.unit)"')"
    equal "opdbus.service 0" "$(in_answer '.bus[] | select(.name == "org.opdbus1") | "\(.unit) \(.uid)"')"
    equal "false true" "$(in_answer '.bus[] | select(.name == "org.freedesktop.hostname1") | "\(.running) \(.activatable)"')"
    equal 0 "$(answer introspect --all)" "$(cat "$OUT")"
    equal 0 "$(in_answer '[.services[] | select(.error != null)] | length')" "$(cat "$OUT")"
    equal 7 "$(answer introspect org.freedesktop.hostname1)" "it does not run"
    contains "$(cat "$OUT")" "--activate"
    lab bash -c '! systemctl is-active --quiet systemd-hostnamed.service'
    equal 0 "$(answer introspect org.freedesktop.hostname1 --activate)" "$(cat "$OUT")"
    equal s "$(in_answer '.services[0].interfaces["org.freedesktop.hostname1"].properties.Hostname.type')"
    equal 4 "$(answer introspect org.example.None)"
    equal 3 "$(answer introspect "a b")"
}

test_a_service_is_shown_as_busctl_shows_it() {
    local ours theirs
    opdbus introspect --json org.freedesktop.login1 >"$OUT"
    ours=$(jq --raw-output '.services[0].objects | keys[]' "$OUT" | LC_ALL=C sort)
    theirs=$(lab busctl tree --list org.freedesktop.login1 | LC_ALL=C sort)
    equal "$theirs" "$ours" "the objects"
    ours=$(jq --raw-output '.services[0].interfaces["org.freedesktop.login1.Manager"].methods | keys[]' "$OUT" | LC_ALL=C sort)
    theirs=$(lab busctl introspect --list org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager | awk '$2 == "method" { print substr($1, 2) }' | LC_ALL=C sort)
    equal "$theirs" "$ours" "the methods"
    equal "lab" "$(opdbus introspect --activate --values --json org.freedesktop.hostname1 /org/freedesktop/hostname1 | jq --raw-output '.services[0].objects["/org/freedesktop/hostname1"].values["org.freedesktop.hostname1"].Hostname')"
}

test_values_are_for_root_alone() {
    lab bash -c 'id member >/dev/null 2>&1 || useradd --create-home --groups opdbus member'
    lab runuser --user member -- op-dbus introspect org.freedesktop.login1 >/dev/null
    equal 6 "$(refused lab runuser --user member -- op-dbus introspect --values org.freedesktop.login1)"
    equal 6 "$(refused lab runuser --user member -- op-dbus drift --save)"
}

test_a_service_that_hangs_is_an_entry_and_the_others_are_answered() {
    lab systemctl kill --signal=STOP systemd-logind.service
    local status
    status=$(answer introspect --all)
    lab systemctl kill --signal=CONT systemd-logind.service
    equal 0 "$status" "$(cat "$OUT")"
    contains "$(in_answer '.services[] | select(.name == "org.freedesktop.login1") | .error')" "did not answer in time"
    equal null "$(in_answer '.services[] | select(.name == "org.freedesktop.systemd1") | .error')"
    equal 0 "$(answer introspect org.freedesktop.login1)" "it answers again"
}

test_definitions_are_remembered_until_the_service_is_started_anew() {
    opdbus introspect org.freedesktop.login1 >/dev/null
    equal 0 "$(answer introspect --interfaces org.freedesktop.login1)"
    equal "true true" "$(in_answer '.services[0] | "\(.cached) \(.interfaces | has("org.freedesktop.login1.Manager"))"')"
    lab test -s /var/lib/op-dbus/@cache/introspection/org.freedesktop.login1.json
    lab systemctl restart systemd-logind.service
    equal 0 "$(answer introspect --interfaces org.freedesktop.login1)"
    equal false "$(in_answer '.services[0].cached')"
    equal 0 "$(answer introspect --interfaces --no-cache org.freedesktop.login1)"
    equal false "$(in_answer '.services[0].cached')"
}

test_drift_is_what_was_changed_beside_apply() {
    until_true 60 containers_run >/dev/null
    equal 0 "$(answer drift)" "$(cat "$OUT")"
    lab ovs-ofctl del-flows ovsbr0 table=20
    lab chmod 0777 /var/lib/op-dbus/sockets
    lab systemctl disable --quiet opdbus-containers.service
    equal 1 "$(answer drift)"
    contains "$(differences)" "added /flows/unlike/table=20"
    contains "$(differences)" "changed /sockets/directories/"
    contains "$(differences)" "changed /units/enabled/opdbus-containers.service"
    equal 1 "$(answer drift units)"
    equal 1 "$(in_answer '.differences | length')"
    opdbus apply >/dev/null
    equal 0 "$(answer drift)" "$(cat "$OUT")"
}

test_what_is_made_by_hand_is_no_drift_and_what_is_saved_neither() {
    opdbus container create by-hand >/dev/null
    equal 0 "$(answer drift)" "$(cat "$OUT")"
    opdbus container stop web-01 >/dev/null
    equal 0 "$(answer drift)" "$(cat "$OUT")"
    opdbus container start web-01 >/dev/null
    opdbus container delete by-hand --force --yes >/dev/null
    equal 0 "$(answer drift)" "$(cat "$OUT")"

    # Another declaration, applied: what that changes is what was applied from then on.
    lab cp --preserve /etc/opdbus/config.json /root/config.json
    lab bash -c 'jq ".containers[\"web-01\"].nesting = true" /root/config.json >/etc/opdbus/config.json'
    equal "0 true" "$(answer drift) $(in_answer .spec_changed)"
    opdbus apply >/dev/null
    equal "0 false" "$(answer drift) $(in_answer .spec_changed)" "$(cat "$OUT")"
    equal true "$(lab jq '.state.containers.containers["web-01"].spec.nesting' /var/lib/op-dbus/@state/current-state.json)"
    lab cp --preserve /root/config.json /etc/opdbus/config.json
    opdbus apply >/dev/null
    equal "0 false" "$(answer drift) $(in_answer .spec_changed)" "$(cat "$OUT")"

    # A service more on the bus is drift, and may be meant.
    local file=/usr/share/dbus-1/system-services/org.example.Lab.service
    lab bash -c "printf '[D-BUS Service]\nName=org.example.Lab\nExec=/bin/false\nUser=root\n' >$file; busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig"
    equal 1 "$(answer drift bus)"
    equal "added /bus/org.example.Lab" "$(differences)"
    equal 0 "$(answer drift --save bus)" "$(cat "$OUT")"
    equal 0 "$(answer drift)" "$(cat "$OUT")"
    lab bash -c "rm $file; busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig"
    equal 1 "$(answer drift)"
    equal "removed /bus/org.example.Lab" "$(differences)"
    opdbus drift --save >/dev/null
    equal 0 "$(answer drift)" "$(cat "$OUT")"
}

test_a_start_keeps_the_state_and_replaces_one_of_an_older_version() {
    local file=/var/lib/op-dbus/@state/current-state.json before
    before=$(lab cat $file)
    lab systemctl restart opdbus-apply.service
    equal "$before" "$(lab cat $file)" "a start does not make what is there the state that was applied"
    # As versions before wrote it.
    lab bash -c "op-dbus show --json >$file"
    equal 4 "$(answer drift)"
    contains "$(cat "$OUT")" "op-dbus drift --save"
    lab systemctl restart opdbus-apply.service
    equal 0 "$(answer drift)" "$(cat "$OUT")"
    installer >/dev/null
    equal 0 "$(answer drift)" "$(cat "$OUT")"
}

test_the_whole_bus_is_measured_beside_busctl() {
    # shellcheck disable=SC2016 # the lab's shell
    lab bash -euc '
        median() { sort -n | awk "{ v[NR] = \$1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }"; }
        timed() {
            local start=$EPOCHREALTIME
            "$@" >/dev/null
            awk -v a="$start" -v b="$EPOCHREALTIME" "BEGIN { print (b - a) * 1000 }"
        }
        names=$(op-dbus query bus --json | jq --raw-output ".bus[] | select(.running) | .name")
        one_by_one() { for name in $names; do busctl tree --list "$name"; done; }
        theirs=$(for _ in {1..10}; do timed one_by_one; done | median)
        walked=$(for _ in {1..10}; do timed op-dbus introspect --all --no-cache --json; done | median)
        remembered=$(for _ in {1..10}; do timed op-dbus introspect --all --interfaces --json; done | median)
        echo "busctl $theirs walked $walked remembered $remembered"' >"$OUT" 2>&1 || die "$(cat "$OUT")"
    local theirs walked remembered
    read -r _ theirs _ walked _ remembered < <(tail -n1 "$OUT")
    show "medians of 10, in ms: busctl tree of each service $theirs, introspect --all $walked, with --interfaces $remembered"
    show "$(awk -v t="$theirs" -v o="$walked" 'BEGIN { printf "introspect-all %.1f 5 %s", t / o, (t / o >= 5 ? "ok" : "short") }')"
    show "$(awk -v t="$theirs" -v o="$remembered" 'BEGIN { printf "introspect-remembered %.1f 5 %s", t / o, (t / o >= 5 ? "ok" : "short") }')"
    equal 1 "$(awk -v t="$theirs" -v o="$walked" 'BEGIN { print (o > 0 && t > 0) }')"
}
