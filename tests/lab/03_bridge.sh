# shellcheck shell=bash disable=SC2016 # variables of the lab's own shells
# lab: installed
# Our flows come back, and what is not ours stays.

OURS=0x6f706462
our_flows() { lab ovs-ofctl -O OpenFlow14 --no-stats --no-names dump-flows ovsbr0 "cookie=${OURS}00000000/0xffffffff00000000" | grep cookie | sort; }
our_flows_are() { [[ $(our_flows) == "$1" ]]; }

test_flows_are_back_within_5_s_of_a_restart_of_open_vswitch_and_foreign_ones_stay() {
    local ours ports seconds
    lab bash -ec '
        ovs-vsctl --may-exist add-br br-admin -- set bridge br-admin datapath_type=netdev fail_mode=secure
        ovs-vsctl --may-exist add-port br-admin adm0 -- set interface adm0 type=internal
        ovs-vsctl --may-exist add-port ovsbr0 adm1 -- set interface adm1 type=internal
        ovs-ofctl -O OpenFlow14 add-flow ovsbr0 "cookie=0xabc,table=0,priority=77,in_port=adm1,actions=drop"'
    ours=$(our_flows)
    [[ -n $ours ]] || die "there are no flows of ours"
    ports=$(lab ovs-vsctl --columns=name,external_ids,type list interface)
    lab systemctl restart openvswitch-switch
    seconds=$(until_true 5 our_flows_are "$ours")
    show "our flows were back $seconds s after systemctl restart openvswitch-switch"
    until_true 5 lab bash -c 'ovs-ofctl -O OpenFlow14 dump-flows ovsbr0 cookie=0xabc/-1 | grep priority=77' >/dev/null
    equal "$ports" "$(lab ovs-vsctl --columns=name,external_ids,type list interface)" "ports"
    until_true 10 inside web-01 curl --silent --max-time 2 "http://$(address_of web-02)/" >/dev/null
    plan_is_empty
    contains "$(lab ovs-vsctl list-ports br-admin)" adm0
    lab bash -c 'ovs-vsctl del-br br-admin; ovs-vsctl del-port adm1; ovs-ofctl -O OpenFlow14 del-flows ovsbr0 cookie=0xabc/-1'
}

test_a_lost_and_an_altered_flow_are_seen_and_put_right() {
    local ours
    ours=$(our_flows)
    lab ovs-ofctl -O OpenFlow14 del-flows ovsbr0 "table=10"
    equal yes "$(opdbus plan --json | jq --raw-output 'if (.changes | length) > 0 then "yes" else "no" end')"
    opdbus apply
    our_flows_are "$ours" || die "the flows are not what they were"
    plan_is_empty
}

ports_of_ports() { lab ovs-vsctl list-ports ovsbr0 | grep --fixed-strings --line-regexp oc-ports || true; }
no_port_of_ports() { [[ -z $(ports_of_ports) ]]; }

test_a_container_has_its_port_while_it_runs_and_one_that_was_left_is_taken_off() {
    local ours
    opdbus container create ports --no-start >/dev/null
    equal "" "$(ports_of_ports)" "made and not started"
    opdbus container start ports >/dev/null
    equal oc-ports "$(ports_of_ports)" "started"
    lab systemctl kill --signal=KILL --kill-whom=all opdbus-container@ports
    until_true 10 no_port_of_ports >/dev/null
    plan_is_empty
    # One that runs and has lost its port gets it back.
    opdbus container start ports >/dev/null
    lab ovs-vsctl del-port oc-ports
    contains "$(opdbus plan)" "put its port back on the bridge"
    opdbus apply >/dev/null
    equal oc-ports "$(ports_of_ports)" "put back"
    ours=$(our_flows)
    # One that ends while Open vSwitch is down leaves its port, as a power cut does.
    lab systemctl stop openvswitch-switch.service ovs-vswitchd.service ovsdb-server.service
    lab systemctl stop opdbus-container@ports
    lab systemctl start openvswitch-switch.service
    until_true 30 our_flows_are "$ours" >/dev/null
    until_true 10 lab bash -c 'test "$(ovs-vsctl get interface oc-ports ofport)" = -1' >/dev/null
    contains "$(opdbus plan)" "port oc-ports of a container that does not run"
    opdbus apply >/dev/null
    equal "" "$(ports_of_ports)" "taken off"
    plan_is_empty
    opdbus container delete ports --yes >/dev/null
}

test_a_removed_nftables_table_is_seen_and_put_right() {
    lab nft delete table inet opdbus
    equal yes "$(opdbus plan --json | jq --raw-output 'if (.changes | length) > 0 then "yes" else "no" end')"
    opdbus apply
    plan_is_empty
}
