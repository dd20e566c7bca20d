# shellcheck shell=bash
# lab: installed
# The doctor: a host that is well is said to be, and each fault is found by its check, with what mends it.

# doctor ARGUMENT…: its answer in $OUT and its status.
doctor() {
    local status=0
    opdbus doctor --json "$@" >"$OUT" 2>&1 || status=$?
    printf '%s' "$status"
}
# The state of a check in the last answer.
state() { jq --raw-output --arg id "$1" '.checks[] | select(.id == $id) | .state' "$OUT"; }
finding() { jq --raw-output --arg id "$1" '.checks[] | select(.id == $id) | .findings[0] | "\(.what) \(.mend)"' "$OUT"; }

test_a_host_that_was_just_installed_is_well() {
    until_true 60 containers_run >/dev/null
    equal 0 "$(doctor)" "$(cat "$OUT")"
    equal true "$(jq .healthy "$OUT")"
    equal "" "$(jq --raw-output '.checks[] | select(.state == "problem") | .id' "$OUT")"
    contains "$(opdbus doctor)" "This host is well."
    equal 2 "$(opdbus doctor --json flows chain | jq '.checks | length')"
    equal 3 "$(refused opdbus doctor bones)"
}

test_the_doctor_finds_each_fault_and_mends_what_apply_mends() {
    lab ovs-ofctl del-flows ovsbr0 table=20
    equal 1 "$(doctor)" "a flow is missing"
    equal problem "$(state flows)"
    contains "$(finding flows)" "op-dbus doctor --fix flows"
    equal 0 "$(doctor --fix flows)" "$(cat "$OUT")"

    lab nft delete table inet opdbus
    lab chmod 0777 /var/lib/op-dbus/sockets
    lab touch /var/lib/op-dbus/@state/.opdbus-new-current-state.json-Ab12Cd
    equal 1 "$(doctor)"
    equal "problem problem problem" "$(state nat) $(state sockets) $(state leftovers)"
    equal 0 "$(doctor --fix)" "$(cat "$OUT")"
    plan_is_empty

    lab bash -c 'printf "[Service]\nExecStart=/bin/false\n" >/run/systemd/system/opdbus-lab-fails.service; systemctl start opdbus-lab-fails.service' >/dev/null 2>&1 || true
    equal 1 "$(doctor services)"
    contains "$(finding services)" opdbus-lab-fails
    equal 1 "$(doctor --fix services)" "what it cannot mend it does not call mended"
    lab bash -c 'systemctl reset-failed opdbus-lab-fails.service; rm /run/systemd/system/opdbus-lab-fails.service; systemctl daemon-reload'
    equal 0 "$(doctor)" "$(cat "$OUT")"
}

test_the_doctor_comes_without_the_daemon_and_without_the_bus() {
    lab systemctl stop opdbus.service opdbus.socket
    equal 1 "$(doctor)"
    equal problem "$(state daemon)"
    contains "$(finding daemon)" "systemctl start opdbus.service"
    lab systemctl start opdbus.socket opdbus.service
    lab systemctl stop dbus.service dbus.socket
    equal 1 "$(doctor)"
    equal "problem ok ok" "$(state daemon) $(state bridge) $(state chain)"
    lab systemctl start dbus.socket dbus.service
    lab systemctl restart opdbus.service
    until_true 20 opdbus doctor >/dev/null
}

test_a_wrong_host_spec_is_the_one_finding() {
    lab cp --preserve /etc/opdbus/config.json /root/config.json
    lab sed --in-place 's/"version": 1/"version": 1, "brigde": true/' /etc/opdbus/config.json
    equal 1 "$(doctor)"
    equal host-spec "$(jq --raw-output '.checks[].id' "$OUT")"
    contains "$(finding host-spec)" brigde
    lab cp --preserve /root/config.json /etc/opdbus/config.json
    equal 0 "$(doctor)" "$(cat "$OUT")"
}

test_the_doctor_looks_at_the_model_and_the_chat() {
    lab cp --preserve /etc/opdbus/config.json /root/config.json
    lab bash -c 'jq ".ml = { enable: true, model: \"/root/no-model\" } | .mcp.tls = { certificate: \"/root/no.crt\", key: \"/root/no.key\" }" /root/config.json >/etc/opdbus/config.json'
    lab systemctl stop mcp-chat.socket
    equal 1 "$(doctor search chat)"
    equal "warning problem" "$(state search) $(state chat)"
    contains "$(finding search)" "/root/no-model/model.safetensors op-dbus model fetch"
    contains "$(finding chat)" "systemctl start mcp-chat.socket"
    contains "$(cat "$OUT")" "/root/no.key"
    lab cp --preserve /root/config.json /etc/opdbus/config.json
    lab systemctl start mcp-chat.socket
    equal 0 "$(doctor search chat)" "$(cat "$OUT")"
}
