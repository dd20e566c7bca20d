# shellcheck shell=bash
# lab: none
# The installer on a bare Debian, again and again: each test has a lab of its own.

export LAB_NAME=test-install
# The other tests' lab stays as it is.
fresh() { "$REPO/lab/down" >/dev/null && "$REPO/lab/up" --yes --no-install >/dev/null; }
teardown() { "$REPO/lab/down" >/dev/null 2>&1 || true; }

# The names of everything that was made, without what differs from one installation to the next (of a snapshot, the time).
made() {
    lab bash -c '
        find /etc/opdbus /var/lib/op-dbus -xdev -maxdepth 4 \( -name rootfs -o -name "blockchain.db-*" -o -name "web-*.sock" \) -prune -o -print
        btrfs subvolume list / | sed "s/.* path //"
        ovs-vsctl --columns=name list interface
        ip -oneline link | cut -d: -f2 | sed "s/@.*//"
        ls /usr/local/bin /etc/systemd/system
        find /usr/local/share
        find / -xdev -name ".opdbus-*" -o -xdev -name "*.opdbus-new" -o -xdev -path "/etc/*" -name ".tmp*"' | sort -u | sed -E 's/-[0-9]{8}T[0-9]{6}Z//' | sort
}

# Starts the installer and kills it so many seconds after a step began. The children live on, as they would.
killed_in_step() {
    # shellcheck disable=SC2016 # the lab's shell
    lab bash -c '
        exec 3< <(exec "${@:3}" 2>&1)
        pid=$!
        while read -r line <&3; do
            if [[ $line == "[$1/13]"* || $line == "[ $1/13]"* ]]; then
                sleep "$2"
                kill -KILL $pid 2>/dev/null || echo "it had ended before"
                break
            fi
        done' killer "$1" "$2" /opt/operation-dbus/install-opdbus.sh --yes --bin-dir /opt/programs \
        --rootfs /opt/lab/guest.tar.zst --config /opt/lab/host.json
}

converges() {
    install_afresh >"$OUT" 2>&1 || die "the next run failed $1: $(tail -n5 "$OUT")"
    plan_is_empty
    until_true 20 containers_run 2 >/dev/null
    installer >"$OUT"
    contains "$(cat "$OUT")" "Nothing to change" "$1"
    made >"$OUT"
    diff "$REFERENCE" "$OUT" || die "there is something else than after an installation in one go ($1)"
    opdbus ledger verify >/dev/null || die "the ledger does not verify ($1)"
}

test_killed_in_each_of_the_thirteen_steps_the_next_run_converges() {
    local step delay
    REFERENCE=$(mktemp)
    fresh
    install_afresh >/dev/null
    until_true 20 containers_run 2 >/dev/null
    made >"$REFERENCE"
    for step in {1..13}; do
        fresh
        # At once, and then somewhere in it.
        killed_in_step "$step" 0
        delay=0.$((RANDOM % 4))$((RANDOM % 10))
        killed_in_step "$step" "$delay"
        converges "after kills 0 s and $delay s into step $step"
    done
    rm -f "$REFERENCE"
}

test_what_is_not_ours_or_was_edited_is_unchanged_by_install_and_reinstall() {
    local before
    fresh
    admin_was_here
    admin_state() {
        lab bash -c '
            ovs-vsctl --columns=name,ports,datapath_type,fail_mode,external_ids find bridge name=br-admin
            ovs-vsctl list-ports br-admin
            ovs-ofctl --no-stats dump-flows br-admin
            nft list table inet admin
            find /var/lib/lxc -printf "%p %m %u %g %s %T@\n" -type f -exec sha256sum {} +
            lxc-ls; cat /etc/opdbus/notes.txt'
    }
    before=$(admin_state)
    install_afresh
    equal "$before" "$(admin_state)" "after the installation"
    # Files of ours that the admin edits.
    lab bash -ec '
        echo "# mine" >>/var/lib/op-dbus/@plugins/lxc/plugin.toml
        echo "# mine" >>/etc/systemd/system/opdbus.service
        mkdir /var/lib/op-dbus/@plugins/mine; echo x >/var/lib/op-dbus/@plugins/mine/x
        btrfs subvolume create /var/lib/op-dbus/@mine >/dev/null; echo x >/var/lib/op-dbus/@mine/x
        sha256sum /var/lib/op-dbus/@plugins/lxc/plugin.toml /etc/systemd/system/opdbus.service /var/lib/op-dbus/@plugins/mine/x /var/lib/op-dbus/@mine/x >/root/sums'
    install_afresh
    lab sha256sum --quiet --check /root/sums
    equal "$before" "$(admin_state)" "after the second run"
    # Also where a new version ships other files: they are laid beside.
    lab rm /etc/opdbus/installed
    install_afresh
    lab sha256sum --quiet --check /root/sums
    plan_is_empty
}

test_on_nixos_nothing_is_changed_and_the_advice_is_printed() {
    local out changed
    fresh
    lab bash -c 'touch /etc/NIXOS; sleep 0.05; touch /root/reference'
    out=$(installer)
    contains "$out" "NixOS"
    contains "$out" "services.operation-dbus.enable = true"
    # The program itself, too.
    contains "$(lab /opt/programs/opdbus-install --yes)" "NixOS"
    changed=$(lab find / -xdev \( -path /proc -o -path /run -o -path /var/log -o -path /tmp \) -prune -o -newer /root/reference ! -path /root/reference -print)
    equal "" "$changed" "changed files"
    equal "" "$(lab ovs-vsctl list-br)"
}

test_where_the_disk_is_not_btrfs_an_image_is_made_when_asked() {
    fresh
    lab bash -ec 'truncate -s 6G /var/plain.img; mkfs.ext4 -q /var/plain.img; mkdir /srv/plain; mount -o loop /var/plain.img /srv/plain'
    refused install_afresh --base-path /srv/plain/op-dbus >/dev/null
    contains "$(cat "$OUT")" btrfs-image "the way out"
    equal "lost+found" "$(lab ls /srv/plain)" "a refused installation makes nothing"
    install_afresh --base-path /srv/plain/op-dbus --btrfs-image 4G
    equal btrfs "$(lab findmnt --noheadings --output FSTYPE /srv/plain/op-dbus)"
    until_true 20 containers_run 2 >/dev/null
    contains "$(inside web-01 curl --silent --max-time 5 --unix-socket /var/lib/op-dbus/sockets/containers/web-02/web-02.sock http://web-02/)" nginx
    plan_is_empty
    installer >"$OUT"
    contains "$(cat "$OUT")" "Nothing to change"
}

test_plan_on_a_bare_debian_shows_the_steps_and_changes_nothing() {
    local out
    fresh
    out=$(lab /opt/operation-dbus/install-opdbus.sh --plan --bin-dir /opt/programs --rootfs /opt/lab/guest.tar.zst --config /opt/lab/host.json)
    contains "$out" "[13/13]"
    contains "$out" "subvolume /var/lib/op-dbus/@timing"
    equal 1 "$(grep --count "manual pages and completions in /usr/local/share" <<<"$out")" "the pages are one change"
    refused lab test -e /etc/opdbus >/dev/null
    refused lab test -e /var/lib/op-dbus >/dev/null
    equal "" "$(lab ovs-vsctl list-br)"
}
