# shellcheck shell=bash
# lab: bare
# Taking operation-dbus off a host: what is not ours stays as it is, the data stays unless it is purged, and a run that
# was killed is run again.

fresh() { "$REPO/lab/down" >/dev/null && "$REPO/lab/up" --yes --no-install >/dev/null; }
teardown() { "$REPO/lab/down" >/dev/null 2>&1 || true; }

# The script finds the installed program itself.
uninstall() { lab /opt/operation-dbus/install-opdbus.sh --uninstall "$@"; }
# The same with a program that an uninstall does not take away.
uninstall_from() { lab /opt/programs/opdbus-install --uninstall "$@"; }

# The names of everything on the host that an installation changes, outside of the data.
host_names() {
    lab bash -c '
        find /etc/opdbus /run/opdbus /usr/local /etc/systemd/system /etc/dbus-1 /usr/share/polkit-1 /etc/udev -print 2>/dev/null
        ovs-vsctl --columns=name list interface; ovs-vsctl list-br
        ip -oneline link | cut -d: -f2 | sed "s/@.*//"
        nft list ruleset
        systemctl list-units --all --plain --no-legend "opdbus*"
        find / -xdev -name ".opdbus-*" -o -xdev -name "*.opdbus-new" -o -xdev -path "/etc/*" -name ".tmp*"
        true' | sort
}
# And of the data; when the first snapshots were taken is in their names.
data_names() {
    lab bash -c '
        find /var/lib/op-dbus* -xdev -maxdepth 3 \( -name rootfs -o -name "blockchain.db-*" -o -name "*.sock" \) -prune -o -print 2>/dev/null
        btrfs subvolume list / | sed "s/.* path //" | grep op-dbus
        getent group opdbus | cut -d: -f1
        true' | sed -E 's/-[0-9]{8}T[0-9]{6}Z//' | sort
}
# What a container is: nothing of it may change.
containers_are() {
    opdbus container list --json | jq --compact-output '[.[] | {name, address, origin}]'
    lab bash -c 'sha256sum /var/lib/op-dbus/containers/*/container.json; cat /var/lib/op-dbus/containers/web-01/rootfs/root/mine'
}
same() { diff "$1" "$2" >"$OUT" || die "$3: $(cat "$OUT")"; }

test_what_is_not_ours_is_the_same_after_install_uninstall_install_and_purge() {
    local before
    fresh
    admin_was_here
    # shellcheck disable=SC2016 # the lab's shell
    lab bash -ec '
        mkdir -p /var/lib/op-dbus
        btrfs subvolume create /var/lib/op-dbus/@mine >/dev/null; echo x >/var/lib/op-dbus/@mine/x
        btrfs subvolume snapshot -r /var/lib/op-dbus/@mine /var/lib/op-dbus/@mine-before >/dev/null
        mkdir /var/lib/op-dbus/notes; echo y >/var/lib/op-dbus/notes/y
        echo "#!/bin/sh" >/usr/local/bin/opdbus-mine
        printf "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n" >/etc/systemd/system/opdbus-mine.service
        systemctl daemon-reload; systemctl enable --quiet --now opdbus-mine.service'
    admin_state() {
        lab bash -c '
            ovs-vsctl --columns=name,ports,datapath_type,fail_mode,external_ids find bridge name=br-admin
            ovs-vsctl list-ports br-admin
            ovs-ofctl --no-stats dump-flows br-admin
            nft list table inet admin
            find /var/lib/lxc /var/lib/op-dbus/@mine* /var/lib/op-dbus/notes -printf "%p %m %u %g %s %T@\n" -type f -exec sha256sum {} +
            btrfs subvolume list -u / | grep "@mine" | sed "s/gen [0-9]*//"
            sha256sum /etc/opdbus/notes.txt /usr/local/bin/opdbus-mine /etc/systemd/system/opdbus-mine.service
            systemctl is-active opdbus-mine.service; systemctl is-enabled opdbus-mine.service
            systemctl show --property=ActiveEnterTimestampMonotonic opdbus-mine.service openvswitch-switch.service
            dpkg-query --show; lxc-ls'
    }
    before=$(admin_state)
    install_afresh >/dev/null
    equal "$before" "$(admin_state)" "after the installation"
    # A snapshot that the admin took of something of ours is the admin's, though it bears our mark.
    lab btrfs subvolume snapshot -r /var/lib/op-dbus/@state /var/lib/op-dbus/@state-mine >/dev/null
    uninstall --yes >/dev/null
    equal "$before" "$(admin_state)" "after the uninstall"
    install_afresh >/dev/null
    equal "$before" "$(admin_state)" "after the second installation"
    uninstall --purge --yes >"$OUT"
    contains "$(cat "$OUT")" "subvolume /var/lib/op-dbus/@mine stays"
    contains "$(cat "$OUT")" "subvolume /var/lib/op-dbus/@state-mine stays"
    equal "$before" "$(admin_state)" "after the purge"
    equal "@mine @mine-before @state-mine notes" "$(lab ls /var/lib/op-dbus | xargs)" "what is left below the base path"
    equal "notes.txt" "$(lab ls /etc/opdbus)"
}

test_an_uninstall_keeps_the_data_and_an_installation_takes_it_up_again() {
    local before after entries
    fresh
    install_afresh >/dev/null
    until_true 20 containers_run 2 >/dev/null
    opdbus container create by-hand >/dev/null
    lab bash -c 'echo "I was here" >/var/lib/op-dbus/containers/web-01/rootfs/root/mine; cp /etc/opdbus/config.json /root/'
    before=$(containers_are)
    entries=$(opdbus ledger verify --json | jq .entries)
    lab bash -ec 'cp /var/lib/op-dbus/@timing/blockchain.db* /root/'

    # A plan changes nothing.
    uninstall --plan >"$OUT"
    contains "$(cat "$OUT")" "bridge ovsbr0"
    contains "$(cat "$OUT")" "data at /var/lib/op-dbus stays"
    containers_run 3
    plan_is_empty

    uninstall --yes >/dev/null
    equal "" "$(lab bash -c 'ovs-vsctl list-br; nft list ruleset; ls /usr/local/bin; systemctl list-units --all --plain --no-legend "opdbus*"; pgrep -l "opdbus|lxc-start|nginx"')"
    lab cmp /etc/opdbus/config.json /root/config.json
    # What runs is gone; once more there is nothing to do.
    contains "$(uninstall --yes)" "Nothing to uninstall"
    contains "$(uninstall_from --yes)" "Nothing to uninstall"

    install_afresh >/dev/null
    until_true 20 containers_run 3 >/dev/null
    after=$(containers_are)
    equal "$before" "$after" "the containers"
    (($(opdbus ledger verify --json | jq .entries) > entries)) || die "the chain does not go on"
    contains "$(opdbus ledger show)" uninstall
    equal 1 "$(opdbus ledger show --json | jq '[.[] | select(.operation == "uninstall")] | length')"
    plan_is_empty
    contains "$(inside web-01 curl --silent --max-time 5 --unix-socket /var/lib/op-dbus/sockets/containers/web-02/web-02.sock http://web-02/)" nginx
}

test_a_purge_is_asked_for_by_name_and_leaves_a_host_as_it_was() {
    local before status=0 answer
    before=$(mktemp)
    fresh
    { host_names && data_names; } >"$before"
    install_afresh >/dev/null
    until_true 20 containers_run 2 >/dev/null
    for answer in "" y yes other; do
        status=0
        echo "$answer" | uninstall --purge >"$OUT" 2>&1 || status=$?
        equal 3 "$status" "declined with '$answer': $(cat "$OUT")"
        contains "$(cat "$OUT")" "web-01 (running)"
        contains "$(cat "$OUT")" "nothing was changed"
        containers_run 2
        plan_is_empty
    done
    # Neither is a yes to the one a yes to the other.
    echo n | uninstall >"$OUT" 2>&1 && die "not declined"
    refused lab /opt/operation-dbus/install-opdbus.sh --purge --yes >/dev/null
    containers_run 2
    lab hostname | uninstall --purge >"$OUT" 2>&1
    contains "$(cat "$OUT")" "Uninstalled, with its data"
    { host_names && data_names; } >"$OUT.after"
    same "$before" "$OUT.after" "something is left of it"
    contains "$(uninstall_from --purge --yes)" "Nothing to uninstall"
    rm -f "$before" "$OUT.after"
}

# Starts an uninstall and kills it so many seconds after it has said so many lines, one a change. What it started lives
# on, as it would.
killed_after() {
    # shellcheck disable=SC2016 # the lab's shell
    lab bash -c '
        exec 3< <(exec "${@:3}" 2>/dev/null)
        pid=$!
        for ((line = 0; line < $1; line++)); do read -r _ <&3 || break; done
        sleep "$2"; kill -KILL $pid 2>/dev/null && echo cut; true' killer "$@"
}

test_killed_at_any_instant_an_uninstall_is_run_again_and_goes_on() {
    local bare kept round line delay now cut=0
    bare=$(mktemp) kept=$(mktemp) now=$(mktemp)
    fresh
    { host_names && data_names; } >"$bare"
    install_afresh >/dev/null
    until_true 20 containers_run 2 >/dev/null
    uninstall --yes >/dev/null
    { host_names && data_names; } >"$kept"
    for round in {1..10}; do
        install_afresh >/dev/null
        until_true 20 containers_run 2 >/dev/null
        # Most of its time goes by while the containers stop, before the first line; what comes after takes a second or two.
        line=$((RANDOM % 50)) delay=0.$((RANDOM % 10))$((RANDOM % 10))
        if ((line > 0)); then delay=0.0${delay#0.}; fi
        if ((round % 2)); then
            if [[ $(killed_after "$line" "$delay" /usr/local/bin/opdbus-install --uninstall --yes) == cut ]]; then cut=$((cut + 1)); fi
            uninstall --yes >"$now.log" || die "after a kill $delay s after line $line: $(tail -n5 "$now.log")"
            { host_names && data_names; } >"$now"
            same "$kept" "$now" "an uninstall killed $delay s after line $line and run again"
        else
            if [[ $(killed_after "$line" "$delay" /usr/local/bin/opdbus-install --uninstall --purge --yes) == cut ]]; then cut=$((cut + 1)); fi
            # The last thing to go is the program itself.
            if lab test -e /usr/local/bin/opdbus-install; then
                uninstall --purge --yes >"$now.log" || die "after a kill $delay s after line $line: $(tail -n5 "$now.log")"
            fi
            { host_names && data_names; } >"$now"
            same "$bare" "$now" "a purge killed $delay s after line $line and run again"
        fi
    done
    show "of 10 runs $cut had not ended when they were killed"
    rm -f "$bare" "$kept" "$now" "$now.log"
}

test_an_image_stays_mounted_and_a_purge_takes_it_with_its_mount() {
    fresh
    lab bash -ec 'truncate -s 6G /var/plain.img; mkfs.ext4 -q /var/plain.img; mkdir /srv/plain; mount -o loop /var/plain.img /srv/plain'
    install_afresh --base-path /srv/plain/op-dbus --btrfs-image 4G >/dev/null
    until_true 20 containers_run 2 >/dev/null
    uninstall --yes >/dev/null
    equal btrfs "$(lab findmnt --noheadings --output FSTYPE /srv/plain/op-dbus)"
    lab test -d /srv/plain/op-dbus/containers/web-01/rootfs
    # With something of the admin's in it, the image stays.
    lab bash -ec 'mkdir /srv/plain/op-dbus/mine; echo x >/srv/plain/op-dbus/mine/x'
    install_afresh >/dev/null
    until_true 20 containers_run 2 >/dev/null
    uninstall --purge --yes >"$OUT"
    contains "$(cat "$OUT")" "directory /srv/plain/op-dbus/mine stays"
    equal x "$(lab cat /srv/plain/op-dbus/mine/x)"
    equal mine "$(lab ls /srv/plain/op-dbus)"
    contains "$(cat "$OUT")" "btrfs image /srv/plain/op-dbus.btrfs stays"
    lab test -f /etc/opdbus/config.json
    lab rm -r /srv/plain/op-dbus/mine
    # One that is not mounted is not taken for empty.
    install_afresh >/dev/null
    lab bash -ec 'systemctl stop "opdbus*" && umount /srv/plain/op-dbus'
    equal 5 "$(refused uninstall --purge --yes)" "$(cat "$OUT")"
    contains "$(cat "$OUT")" "mount -o loop /srv/plain/op-dbus.btrfs"
    lab test -f /srv/plain/op-dbus.btrfs
    lab mount -o loop /srv/plain/op-dbus.btrfs /srv/plain/op-dbus
    uninstall --purge --yes >/dev/null
    equal "lost+found" "$(lab ls -A /srv/plain)" "$(lab ls -lA /srv/plain)"
    equal "" "$(lab bash -c 'ls /etc/systemd/system | grep op.x2ddbus; losetup --noheadings | grep op-dbus; ls /etc/opdbus 2>/dev/null')"
}

test_what_the_admin_edited_is_put_aside_and_on_nixos_nothing_is_done() {
    fresh
    install_afresh >/dev/null
    lab bash -ec 'echo "# mine" >>/etc/systemd/system/opdbus.service; usermod -aG opdbus nobody; cp /etc/systemd/system/opdbus.service /root'
    lab touch /etc/NIXOS
    equal 5 "$(refused uninstall --yes)"
    contains "$(cat "$OUT")" "services.operation-dbus.enable = false"
    equal 5 "$(refused uninstall_from --yes)"
    contains "$(cat "$OUT")" "nixos-rebuild switch"
    lab rm /etc/NIXOS
    plan_is_empty
    uninstall --purge --yes >"$OUT"
    contains "$(cat "$OUT")" "moved to /etc/opdbus/kept"
    contains "$(cat "$OUT")" "system group opdbus stays"
    lab cmp /root/opdbus.service /etc/opdbus/kept/opdbus.service
    equal kept "$(lab ls /etc/opdbus)"
    contains "$(lab getent group opdbus)" nobody
}
