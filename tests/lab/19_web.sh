# shellcheck shell=bash disable=SC2016 # variables of the lab's own shells
# lab: installed
# The chat: who is let in, and what an admin does there.

CHAT=http://127.0.0.1:8080

# code CURL-ARGUMENT…: the status and the size of the answer.
code() { lab curl --silent --output /dev/null --write-out '%{http_code} %{size_download}' --max-time 20 "$@"; }

# A fresh token of a user, with a role.
token() { lab runuser --user "$1" -- op-dbus token create "$2" --role "$3" --json | jq --raw-output .secret; }

members_are_there() {
    # A test that failed may have left its own host spec.
    lab sh -c 'if test -e /root/host-spec; then mv /root/host-spec /etc/opdbus/config.json; fi'
    lab bash -c 'for user in member other; do id "$user" >/dev/null 2>&1 || useradd --create-home --groups opdbus "$user"; done'
}

test_the_page_is_there_and_nothing_else_without_a_token() {
    local path page
    page=$(lab curl --silent --fail "$CHAT/chat.html")
    contains "$page" "<html"
    contains "$(lab curl --silent --head "$CHAT/chat.html")" "content-security-policy: default-src 'none'; script-src 'self'" "$(lab curl --silent --head "$CHAT/chat.html")"
    for path in / /ws /mcp /session /index.html /v1/operations /metrics /assets /../etc/passwd /chat.html/ /%2e%2e/x; do
        equal "401 0" "$(code --path-as-is "$CHAT$path")" "$path"
    done
    equal "401 0" "$(code --request POST "$CHAT/sign-out")"
    equal "401 0" "$(code --request POST --data x "$CHAT/mcp")"
    equal "401 0" "$(code --request POST --data 'opdbus_wrong' --header 'Content-Type: text/plain' "$CHAT/sign-in")"
    equal "401 0" "$(lab bash -c "printf 'opdbus_\\0' | curl --silent --output /dev/null --write-out '%{http_code} %{size_download}' --data-binary @- --header 'Content-Type: text/plain' $CHAT/sign-in")" "a NUL"
    equal 0 "$(lab systemctl show --property=NRestarts --value mcp-chat.service)"
    equal "401 0" "$(code --header 'Authorization: Bearer opdbus_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' "$CHAT/session")"
    # Of what runs, nobody is root, and nothing but loopback is listened on.
    equal yes "$(lab bash -c '[[ $(stat --format=%u /proc/$(systemctl show --property=MainPID --value mcp-chat.service)) != 0 ]] && echo yes')"
    equal "127.0.0.1:8080" "$(lab ss --no-header --listening --tcp --numeric 'sport = :8080' | awk '{ print $4 }')"
}

test_a_foreign_page_a_foreign_name_and_what_is_no_longer_good_are_refused() {
    local secret short
    members_are_there
    secret=$(token member curl read)
    equal 200 "$(code --header "Authorization: Bearer $secret" "$CHAT/session" | cut -d' ' -f1)"
    for origin in http://evil.example null http://127.0.0.1:8081 https://127.0.0.1:8080; do
        equal "403 0" "$(code --header "Authorization: Bearer $secret" --header "Origin: $origin" "$CHAT/session")" "$origin"
    done
    for host in evil.example evil.example:8080 127.0.0.1:9 localhost; do
        equal "403 0" "$(code --header "Authorization: Bearer $secret" --header "Host: $host" "$CHAT/session")" "$host"
        equal "403 0" "$(code --header "Host: $host" "$CHAT/chat.html")" "$host"
    done
    lab runuser --user member -- op-dbus token revoke curl >/dev/null
    equal "401 0" "$(code --header "Authorization: Bearer $secret" "$CHAT/session")" "revoked"
    short=$(token member short read)
    lab bash -ec 'cd /var/lib/opdbus; jq ".tokens |= map(if .name == \"short\" then .expires = 1 else . end)" tokens.json >t; cat t >tokens.json; rm t'
    equal "401 0" "$(code --header "Authorization: Bearer $short" "$CHAT/session")" "expired"
    equal 600 "$(lab stat --format=%a /var/lib/opdbus/tokens.json)"
    equal "" "$(lab bash -c "grep --recursive --files-with-matches --fixed-strings '$short' /etc /var/lib/opdbus /var/lib/op-dbus/@* /run/opdbus /var/log 2>/dev/null || true")" "the secret is somewhere on the host"
}

test_an_admin_in_a_browser_signs_in_creates_and_deletes_and_the_ledger_names_them() {
    local link shots=${LAB_ARTEFACTS:-$LAB_DIR/artefacts} entry
    # shellcheck source=lab/lib.sh
    source "$REPO/lab/lib.sh"
    # shellcheck source=lab/machine.sh
    source "$REPO/lab/machine.sh"
    # shellcheck disable=SC2034 # see lab/machine.sh
    yes=yes
    need_packages chromium chromium-driver python3-selenium >"$OUT" 2>&1 || die "$(cat "$OUT")"
    lab_paths
    members_are_there
    lab op-dbus container delete db-01 --force --yes >/dev/null 2>&1 || true
    link=$(lab runuser --user member -- op-dbus chat open)
    mkdir -p "$shots"
    # A browser of this machine, on the lab's network.
    nsenter --target "$(lab_leader)" --net -- /usr/bin/python3 "$HERE/chat/browser.py" "$link" "$shots" >"$OUT" 2>&1 ||
        die "$(grep '^seen: ' "$OUT" | tr '\n' ' '; grep -v '^seen: ' "$OUT" | tail -n 30)"
    show "$(grep '^seen: ' "$OUT" | tr '\n' ' ')"
    show "screenshots: $shots"
    for what in create delete; do
        entry=$(opdbus ledger show --json --operation "container.$what" --target db-01 --limit 1)
        equal "ok member chat chat" "$(jq --raw-output '.[0].metadata | "\(.outcome) \(.caller.user) \(.caller.via) \(.token)"' <<<"$entry")" "$entry"
    done
    equal 4 "$(refused opdbus container show db-01)"
    opdbus ledger verify >/dev/null
}

test_the_sentences_of_the_requirements_give_what_they_promise() {
    local secret
    members_are_there
    lab op-dbus container delete db-02 --force --yes >/dev/null 2>&1 || true
    lab runuser --user member -- op-dbus token revoke talk >/dev/null 2>&1 || true
    secret=$(token member talk operate)
    lab python3 - say "$secret" "list tools" "show me all containers" "create container db-02 with socket networking" \
        "what containers were created yesterday?" "what containers were created today?" "status of systemd services" \
        <"$HERE/chat/talk.py" >"$OUT"
    said() { jq --raw-output --slurp "[.[] | select(.type == \"assistant\")] | .[$1] | $2" "$OUT"; }
    contains "$(said 0 .content)" "Available tools: "
    equal true "$(said 0 '[.content, .type, .timestamp, .tools_used] | all(. != null)')" "the fields of the requirements"
    contains "$(said 1 .content)" "web-01"
    equal "query" "$(said 1 '.tools_used[0]')"
    equal "running socket" "$(said 2 '.data | "\(.state) \(.network)"')"
    equal "search 0" "$(said 3 '"\(.tools_used[0]) \(.data.matches | length)"')"
    contains "$(said 4 '.data.matches[0] | "\(.operation) \(.target)"')" "container.create db-02"
    contains "$(said 5 .content)" "opdbus.service"
    opdbus container delete db-02 --force --yes >/dev/null
}

test_a_program_by_mcp_creates_a_container_and_is_asked_before_it_deletes_it() {
    local secret
    [[ -x ${OPDBUS_MCP_CLIENT:-} ]] || without_files "OPDBUS_MCP_CLIENT names no Python with a client of MCP"
    # shellcheck source=lab/lib.sh
    source "$REPO/lab/lib.sh"
    lab_paths
    members_are_there
    lab op-dbus container delete db-03 --force --yes >/dev/null 2>&1 || true
    lab runuser --user member -- op-dbus token revoke program >/dev/null 2>&1 || true
    secret=$(token member program operate)
    nsenter --target "$(lab_leader)" --net -- "$OPDBUS_MCP_CLIENT" "$HERE/chat/program.py" "$CHAT/mcp" "$secret" >"$OUT" 2>&1 ||
        die "$(tail -n 20 "$OUT")"
    show "$(tr '\n' ' ' <"$OUT")"
    equal "ok member mcp program" "$(opdbus ledger show --json --operation container.delete --target db-03 --limit 1 |
        jq --raw-output '.[0].metadata | "\(.outcome) \(.caller.user) \(.caller.via) \(.token)"')"
}

test_nothing_hostile_that_is_said_does_anything() {
    local secret before restarts
    members_are_there
    restarts=$(lab systemctl show --property=NRestarts --value mcp-chat.service)
    lab runuser --user member -- op-dbus token revoke hostile >/dev/null 2>&1 || true
    secret=$(token member hostile operate)
    entries() { opdbus ledger show --json --limit 0 | jq '[.[] | select(.operation | IN("overview", "ledger.show", "container.list") | not)] | length'; }
    before=$(entries)
    lab python3 - hostile "$secret" "${LAB_SENTENCES:-10000}" <"$HERE/chat/talk.py" >"$OUT" 2>&1 || die "$(tail -n 5 "$OUT")"
    show "$(tail -n 1 "$OUT")"
    equal "$before" "$(entries)" "something was called"
    equal "$restarts" "$(lab systemctl show --property=NRestarts --value mcp-chat.service)"
    containers_run || die "$(opdbus container list)"
}

test_with_its_model_the_host_finds_and_offers_what_was_meant() {
    local file secret said
    [[ -e ${OPDBUS_TEST_MODEL:-}/tokenizer.json ]] || without_files "OPDBUS_TEST_MODEL names no model"
    members_are_there
    lab cp --preserve /etc/opdbus/config.json /root/host-spec
    for file in model.safetensors tokenizer.json; do lab tee "/root/$file" <"$OPDBUS_TEST_MODEL/$file" >/dev/null; done
    lab cp /root/tokenizer.json /root/other.json
    lab bash -c 'echo >>/root/other.json'
    equal 3 "$(refused opdbus model import /root/other.json)"
    opdbus model import /root/model.safetensors >/dev/null
    opdbus model import /root/tokenizer.json >/dev/null
    lab bash -c 'jq ".ml = { enable: true }" /root/host-spec >/etc/opdbus/config.json; rm /root/model.safetensors /root/*.json'
    until_true 120 lab bash -c 'op-dbus model status --json | jq --exit-status ".search.loaded and .search.behind < 5"' >/dev/null
    said=$(opdbus search "the computer was prepared with this software" --json)
    equal "meaning install" "$(jq --raw-output '"\(.by) \(.matches[0].operation)"' <<<"$said")"
    equal ok "$(opdbus doctor search --json | jq --raw-output '.checks[0].state')"
    lab runuser --user member -- op-dbus token revoke meant >/dev/null 2>&1 || true
    secret=$(token member meant read)
    said=$(lab python3 - say "$secret" "could you keep a copy of everything for later" <"$HERE/chat/talk.py")
    equal unclear "$(jq --raw-output .type <<<"$said")" "$said"
    contains "$(jq --compact-output .suggestions <<<"$said")" snapshot "$said"
    lab mv /root/host-spec /etc/opdbus/config.json
}


# LAB_KILLS of them, 20 if it does not say.
test_killed_at_random_under_load_nothing_that_was_answered_is_lost() {
    local secret kills=${LAB_KILLS:-20}
    members_are_there
    lab runuser --user member -- op-dbus token revoke kills >/dev/null 2>&1 || true
    secret=$(token member kills operate)
    lab tee /root/talk.py <"$HERE/chat/talk.py" >/dev/null
    lab bash -s "$secret" "$kills" >"$OUT" 2>&1 <<'KILLS' || die "$(tail -n 20 "$OUT")"
set -uo pipefail
rm -f /root/answered; touch /root/answered
for load in 1 2 3; do python3 /root/talk.py create "$1" /root/answered "kite-$load" & done
trap 'kill $(jobs -p) 2>/dev/null' EXIT
for kill in $(seq "$2"); do
    sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
    case $((kill % 3)) in
        0) unit=mcp-chat.service ;;
        1) unit=opdbus.service ;;
        2) unit=opdbus-search.service; op-dbus search "kite" >/dev/null 2>&1 & ;;
    esac
    systemctl kill --signal=KILL "$unit" 2>/dev/null
done
sleep 3
kill $(jobs -p) 2>/dev/null
wait 2>/dev/null
trap - EXIT
systemctl start opdbus.service
op-dbus ledger show --json --limit 0 --operation container.create | jq --raw-output '.[] | select(.metadata.outcome == "ok") | .target' | sort >/root/recorded
lost=$(sort /root/answered | comm -23 - /root/recorded)
[[ -z $lost ]] || { echo "answered and not in the ledger: $lost"; exit 1; }
op-dbus ledger verify >/dev/null || { op-dbus ledger verify; exit 1; }
[[ $(op-dbus search kite-1-1 --json | jq '.matches | length') -gt 0 ]] || { echo "the search does not find them"; exit 1; }
op-dbus container list --json | jq --raw-output '.[].name | select(startswith("kite-"))' | xargs --no-run-if-empty -n1 op-dbus container delete --force --yes >/dev/null 2>&1
echo "$(wc -l </root/answered) creations were answered"
(($(wc -l </root/answered) > $2)) || { echo "too few for a load"; exit 1; }
KILLS
    show "$kills kills: $(tail -n 1 "$OUT")"
    opdbus doctor --fix >/dev/null
    plan_is_empty
}
