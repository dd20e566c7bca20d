# shellcheck shell=bash disable=SC2016 # variables of the lab's own shells
# lab: bare
# An installation of an earlier version, made with that version's own programs and script, is upgraded: everything of it
# stays, and so does what is not ours.

# The first version that did the main job, before any release. Another one by UPGRADE_FROM.
FROM=${UPGRADE_FROM:-1d8b437}

teardown() { "$REPO/lab/down" >/dev/null 2>&1 || true; }

# The old version's tree and programs, built once, in the lab's /opt.
old_version() {
    local tree=$REPO/target/upgrade/$FROM
    git -C "$REPO" rev-parse --quiet --verify "$FROM^{commit}" >/dev/null || skip "the history of this repository does not go back to $FROM"
    if [[ ! -x $tree/programs/opdbusd ]]; then
        mkdir -p "$tree/source"
        git -C "$REPO" archive "$FROM" | tar --extract --directory "$tree/source"
        (cd "$tree/source" && CARGO_TARGET_DIR=$tree/target cargo build --locked --quiet --profile lab --bins)
        mkdir -p "$tree/programs.new"
        find "$tree/target/lab" -maxdepth 1 -type f -perm -u+x \( -name op-dbus -o -name 'opdbus*' \) -exec cp {} "$tree/programs.new" \;
        mv "$tree/programs.new" "$tree/programs"
    fi
    tar --create --directory "$tree/source" --owner=0 --group=0 . | lab sh -c 'mkdir -p /opt/old && tar --extract --directory /opt/old'
    tar --create --directory "$tree/programs" --owner=0 --group=0 . | lab sh -c 'mkdir -p /opt/old-programs && tar --extract --directory /opt/old-programs'
}

# What the admin has, and what is ours that an upgrade must not change.
admin_state() {
    lab bash -c '
        ovs-ofctl --no-stats dump-flows br-admin
        ovs-ofctl --no-stats dump-flows ovsbr0 cookie=0xadd/-1
        nft list table inet admin'
    admin_files
}
# The part of it that outlives a reboot by itself.
admin_files() {
    lab bash -c '
        ovs-vsctl --columns=name,datapath_type,fail_mode,external_ids find bridge name=br-admin
        find /var/lib/lxc /var/lib/op-dbus/@mine /var/lib/op-dbus/notes -printf "%p %m %u %g %s %T@\n" -type f -exec sha256sum {} +
        btrfs subvolume list -u / | grep "@mine" | sed "s/gen [0-9]*//"
        sha256sum /etc/opdbus/notes.txt /etc/opdbus/config.json'
}
containers_are() {
    opdbus container list --json | jq --compact-output '[.[] | {name, address, interface, origin}]'
    lab bash -c 'for c in web-01 web-02 by-hand; do r=/var/lib/op-dbus/containers/$c/rootfs; cat $r/etc/machine-id; cat $r/root/mine; btrfs subvolume show $r | sed -n "s/^\s*UUID: *//p"; done'
}

test_an_installation_of_the_main_job_is_upgraded_and_keeps_everything() {
    local admin files containers entries head started
    old_version
    lab bash -ec '
        ovs-vsctl add-br br-admin -- set bridge br-admin datapath_type=netdev
        ovs-ofctl add-flow br-admin "cookie=0xabc,priority=7,ip,actions=drop"
        nft add table inet admin; nft add chain inet admin input "{ type filter hook input priority 5; }"
        mkdir -p /var/lib/lxc/legacy/rootfs; echo "lxc.uts.name = legacy" >/var/lib/lxc/legacy/config
        mkdir -p /etc/opdbus /var/lib/op-dbus/notes; echo mine >/etc/opdbus/notes.txt; echo y >/var/lib/op-dbus/notes/y
        btrfs subvolume create /var/lib/op-dbus/@mine >/dev/null; echo x >/var/lib/op-dbus/@mine/x'
    # Of what the host spec has come to know since, the old programs would refuse the whole.
    lab cat /opt/lab/host.json | jq 'del(.mcp)' | lab tee /opt/lab/old-host.json >/dev/null
    lab /opt/old/install-opdbus.sh --yes --bin-dir /opt/old-programs --rootfs /opt/lab/guest.tar.zst --config /opt/lab/old-host.json >"$OUT" 2>&1 || die "$(tail -n 20 "$OUT")"
    show "the old version: $(opdbus --version)"
    until_true 60 containers_run 2 >/dev/null
    opdbus container create by-hand --connect web-02 >/dev/null
    until_true 60 containers_run 3 >/dev/null
    lab bash -ec '
        for c in web-01 web-02 by-hand; do echo "of $c" >/var/lib/op-dbus/containers/$c/rootfs/root/mine; done
        ovs-ofctl add-flow ovsbr0 "cookie=0xadd,table=0,priority=4,udp,tp_dst=9,actions=drop"
        cp /etc/opdbus/config.json /root/before.json'
    entries=$(opdbus ledger verify --json | jq .entries)
    head=$(opdbus ledger show --json --limit 1 | jq --raw-output '(if type == "array" then . else .entries end)[0].current_hash')
    admin=$(admin_state) files=$(admin_files) containers=$(containers_are)
    started=$(lab systemctl show --property=ActiveEnterTimestampMonotonic opdbus-container@web-01.service opdbus-container@by-hand.service)

    installer >"$OUT" 2>&1 || die "$(tail -n 20 "$OUT")"
    show "the new version: $(opdbus --version)"
    until_true 60 containers_run 3 >/dev/null
    equal "$admin" "$(admin_state)" "what is the admin's"
    equal "$containers" "$(containers_are)" "the containers"
    equal "$started" "$(lab systemctl show --property=ActiveEnterTimestampMonotonic opdbus-container@web-01.service opdbus-container@by-hand.service)" "containers that ran ran on"
    # The chain goes on where it was.
    (($(opdbus ledger verify --json | jq .entries) > entries)) || die "the chain does not go on"
    equal 1 "$(opdbus ledger show --json --limit 0 | jq --arg head "$head" '[.[] | select(.current_hash == $head)] | length')" "the last entry of before"
    contains "$(inside by-hand curl --silent --max-time 10 "http://$(address_of web-02)/")" nginx
    plan_is_empty
    opdbus doctor >"$OUT" || die "$(cat "$OUT")"

    # The same over a reboot, and what is new works on what is old.
    opdbus snapshot create by-hand >/dev/null
    lab bash -c 'touch /run/before-the-reboot; systemctl reboot'
    until_true 120 lab bash -c '! test -e /run/before-the-reboot && [[ $(systemctl is-system-running) == running ]]' >/dev/null
    until_true 60 containers_run 3 >/dev/null
    equal "$containers" "$(containers_are)" "the containers after a reboot"
    equal "$files" "$(admin_files)" "what is the admin's after a reboot"
    plan_is_empty

    # And taken off again.
    lab /opt/operation-dbus/install-opdbus.sh --uninstall --yes >/dev/null
    equal "$files" "$(admin_files)" "what is the admin's after the uninstall"
    installer >/dev/null
    until_true 60 containers_run 3 >/dev/null
    equal "$containers" "$(containers_are)" "the containers after an uninstall and an installation"
}
