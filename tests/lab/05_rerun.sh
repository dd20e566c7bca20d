# shellcheck shell=bash
# lab: installed
# A second run changes nothing, says so, and is fast.

host_state() {
    lab bash -c '
        find /etc /usr/local /var/lib/op-dbus -xdev \( -path "*/rootfs" -o -name "blockchain.db*" -o -path "/var/lib/op-dbus/containers/*" \) -prune -o -printf "%p %m %u %g %s %T@\n"
        btrfs subvolume list -u / | sort
        ovs-vsctl show
        nft list ruleset
        ip address | grep -v valid_lft | sed "s, tentative,,"
        systemctl show --property=MainPID,ActiveEnterTimestamp opdbus.service "opdbus-container@web-01.service" "opdbus-container@web-02.service"'
}

test_the_plan_of_an_installed_host_is_empty() { plan_is_empty; }

test_a_second_run_of_the_installer_changes_nothing_in_under_5_s() {
    local before after start seconds
    # In a lab that has just come up a service may not listen yet.
    until_true 20 lab test -S /var/lib/op-dbus/sockets/containers/by-name/web-02/web-02.sock >/dev/null
    before=$(host_state)
    start=$EPOCHREALTIME
    installer >"$OUT"
    seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
    contains "$(cat "$OUT")" "Nothing to change"
    after=$(host_state)
    [[ $before == "$after" ]] || die "changed: $(diff <(echo "$before") <(echo "$after"))"
    show "the second run took $seconds s"
    awk -v s="$seconds" 'BEGIN { exit !(s < 5) }'
    plan_is_empty
}

test_installer_plan_changes_nothing() {
    local before
    before=$(host_state)
    lab /opt/operation-dbus/install-opdbus.sh --plan --bin-dir /opt/programs
    equal "$before" "$(host_state)"
}
