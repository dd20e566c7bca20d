# shellcheck shell=bash
# lab: installed
# What a monitoring system reads of an installed host: metrics from the API socket, and the journal's fields.

API=/var/lib/op-dbus/sockets/api/opdbus.sock
METRICS=http://opdbus/metrics

teardown() {
    lab sh -c 'op-dbus container delete web-09 --force --yes >/dev/null 2>&1; true'
    opdbus apply flows >/dev/null
}

scraped() { lab curl --silent --show-error --fail-with-body --max-time 30 --unix-socket "$API" "$METRICS"; }
# value SAMPLE: of one sample, 0 where it is not there (yet).
value() { scraped | awk -v sample="$1" 'index($0, sample " ") == 1 { print $NF; found = 1 } END { if (!found) print 0 }'; }

test_the_metrics_are_openmetrics_and_say_what_the_host_says() {
    local head text known indexed
    head=$(lab curl --silent --show-error --max-time 30 --unix-socket "$API" --dump-header - --output /dev/null "$METRICS")
    contains "$head" "200 OK"
    contains "$head" "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"
    text=$(scraped)
    equal "# EOF" "$(tail -n1 <<<"$text")"
    show "$(wc --lines <<<"$text") lines, $(grep --count '^# TYPE' <<<"$text") families"
    # Each sample belongs to the family above it, and each family is there once.
    awk '/^# TYPE / { if (seen[$3]++) exit 1; family = $3; next } /^#/ { next } index($1, family) != 1 { exit 1 }' <<<"$text"
    equal "$(opdbus --version | awk '{ print $NF }')" "$(sed -n 's/^opdbus_build_info{version="\(.*\)"} 1$/\1/p' <<<"$text")"
    equal "" "$(grep '^opdbus_scrape_success{.*} 0$' <<<"$text" || true)" "every part could be looked at"
    equal "$(opdbus container list --json | jq '[.[] | select(.state == "running")] | length')" "$(value 'opdbus_containers{state="running"}')"
    equal "$(opdbus query flows --json | jq '.flows.flows | length')" "$(value opdbus_flows)"
    equal 1 "$(value opdbus_bridge_up)"
    equal "$(($(opdbus ledger verify --json | jq .entries) + 1))" "$(value opdbus_ledger_entries_total)" "with the entry of the verification"
    # What was called since, the index follows.
    known=$(opdbus model status --json | jq .search.entries)
    indexed=$(value opdbus_search_indexed_entries)
    ((known > 0 && indexed >= known && indexed <= known + 5)) || die "the index has $known entries, the metrics say $indexed"
    equal "$(lab stat --file-system --format='%b %S' /var/lib/op-dbus | awk '{ printf "%.0f", $1 * $2 }')" "$(value opdbus_filesystem_size_bytes)"
}

test_what_happens_moves_the_counters_and_a_look_does_not() {
    local calls refused count entries
    calls=$(value 'opdbus_calls_total{operation="container.create",outcome="ok"}')
    refused=$(value 'opdbus_calls_total{operation="container.create",outcome="refused"}')
    count=$(value 'opdbus_call_duration_seconds_count{operation="container.create"}')
    opdbus container create web-09 --no-start >/dev/null
    refused opdbus container create 'No Name' >/dev/null
    equal $((calls + 1)) "$(value 'opdbus_calls_total{operation="container.create",outcome="ok"}')"
    equal $((refused + 1)) "$(value 'opdbus_calls_total{operation="container.create",outcome="refused"}')"
    equal $((count + 2)) "$(value 'opdbus_call_duration_seconds_count{operation="container.create"}')"
    equal 1 "$(value 'opdbus_containers{state="stopped"}')"
    entries=$(value opdbus_ledger_entries_total)
    equal "$entries" "$(value opdbus_ledger_entries_total)" "a look is no entry"
}

test_a_flow_that_somebody_took_away_is_seen_and_that_it_was_put_back_is_counted() {
    local changes
    equal 0 "$(value 'opdbus_flows_not_as_wanted{state="missing"}')"
    changes=$(value 'opdbus_changes_total{component="flows"}')
    lab ovs-ofctl -O OpenFlow14 del-flows ovsbr0 'table=10'
    [[ $(value 'opdbus_flows_not_as_wanted{state="missing"}') -gt 0 ]] || die "what is missing is not seen"
    opdbus apply flows >/dev/null
    equal 0 "$(value 'opdbus_flows_not_as_wanted{state="missing"}')"
    equal $((changes + 1)) "$(value 'opdbus_changes_total{component="flows"}')"
}

test_a_stranger_is_refused_the_metrics_and_a_member_is_not() {
    lab sh -c 'id outsider >/dev/null 2>&1 || useradd --create-home outsider; id member >/dev/null 2>&1 || useradd --create-home --groups opdbus member'
    local -a ask=(curl --silent --show-error --fail-with-body --max-time 30 --unix-socket "$API" "$METRICS")
    refused lab runuser --user outsider -- "${ask[@]}" >/dev/null
    contains "$(cat "$OUT")" "root and members of the group opdbus may"
    equal "metrics outsider refused" "$(opdbus ledger show --json --operation metrics --limit 1 | jq --raw-output '.[0] | "\(.operation) \(.metadata.caller.user) \(.metadata.outcome)"')"
    contains "$(lab runuser --user member -- "${ask[@]}")" opdbus_build_info
}

test_a_look_takes_no_time_worth_mention() {
    scraped >/dev/null
    # One look after the other on one connection.
    lab curl --silent --show-error --max-time 60 --unix-socket "$API" --output /dev/null "$METRICS?[1-50]" --write-out '%{time_total}\n' >"$OUT"
    show "50 looks: median $(sort --numeric-sort "$OUT" | sed -n 25p) s, slowest $(sort --numeric-sort "$OUT" | tail -n1) s"
    awk '$1 > 1 { exit 1 }' "$OUT" || die "a look took more than a second"
}

# said MATCH…: the newest message with these fields, once the journal has it.
said() {
    until_true 10 lab sh -c 'journalctl --output json --lines 1 "$@" | grep --quiet .' sh "$@" >/dev/null
    lab journalctl --output json --lines 1 "$@"
}

test_a_change_is_in_the_journal_with_who_made_it_and_its_entry_in_the_ledger() {
    local line
    lab sh -c 'id member >/dev/null 2>&1 || useradd --create-home --groups opdbus member'
    lab runuser --user member -- op-dbus container create web-09 --no-start >/dev/null
    line=$(said OPDBUS_OPERATION=container.create OPDBUS_TARGET=web-09 OPDBUS_OUTCOME=ok)
    equal "member dbus 6 opdbus.service" "$(jq --raw-output '"\(.OPDBUS_CALLER) \(.OPDBUS_VIA) \(.PRIORITY) \(._SYSTEMD_UNIT)"' <<<"$line")"
    equal "$(opdbus ledger show --json --operation container.create --target web-09 --limit 1 | jq '.[0].id')" "$(jq --raw-output .OPDBUS_LEDGER_ENTRY <<<"$line")"
    [[ $(jq --raw-output .OPDBUS_DURATION_US <<<"$line") -gt 100 ]]
    contains "$(lab journalctl --unit opdbus.service --output cat --lines 20)" "container.create web-09 by member: ok"

    refused lab runuser --user member -- op-dbus apply >/dev/null
    line=$(said OPDBUS_OPERATION=apply OPDBUS_CALLER=member OPDBUS_OUTCOME=refused)
    equal "4" "$(jq --raw-output .PRIORITY <<<"$line")"
    contains "$(jq --raw-output .MESSAGE <<<"$line")" "only root may"
    # Said after a look that would have been.
    opdbus container list >/dev/null
    opdbus container delete web-09 --yes >/dev/null
    said OPDBUS_OPERATION=container.delete OPDBUS_TARGET=web-09 OPDBUS_OUTCOME=ok >/dev/null
    equal "" "$(lab journalctl --output cat OPDBUS_OPERATION=container.list OPDBUS_OUTCOME=ok)" "what only looks is said"
}

test_what_a_unit_changed_is_in_the_journal_with_the_same_fields_and_under_its_unit() {
    local line
    lab ovs-ofctl -O OpenFlow14 del-flows ovsbr0 'table=10'
    lab systemctl restart opdbus-network.service
    line=$(said OPDBUS_OPERATION=apply OPDBUS_TARGET=flows OPDBUS_VIA=helper)
    equal "root ok opdbus-network.service" "$(jq --raw-output '"\(.OPDBUS_CALLER) \(.OPDBUS_OUTCOME) \(.OBJECT_SYSTEMD_UNIT)"' <<<"$line")"
    contains "$(lab journalctl --unit opdbus-network.service --output cat --lines 20)" "apply flows by root: ok"
}
