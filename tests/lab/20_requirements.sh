# shellcheck shell=bash disable=SC2016 # variables of the lab's own shells
# lab: bare
# The testing requirements of the install script, one by one and under their numbers. Open: 2 (a fresh Proxmox VE 8) and 5
# (a container in a Netmaker mesh), whose back ends are not built; what else each promise takes is in the other files.

fresh() { "$REPO/lab/down" >/dev/null && "$REPO/lab/up" --yes --no-install >/dev/null; }

test_requirement_1_a_fresh_debian_is_set_up_fully() {
    fresh
    install_afresh >"$OUT" 2>&1 || die "$(tail -n 20 "$OUT")"
    until_true 60 containers_run 2 >/dev/null
    opdbus doctor >"$OUT" || die "$(cat "$OUT")"
    plan_is_empty
    equal "" "$(lab systemctl --failed --plain --no-legend)" "failed units"
    equal "@cache @plugins @snapshots @state @templates @timing @vectors" \
        "$(lab bash -c 'cd /var/lib/op-dbus && for d in @*; do btrfs subvolume show "$d" >/dev/null && echo "$d"; done' | xargs)" "subvolumes"
}

test_requirement_3_a_second_run_changes_nothing_and_a_change_is_applied() {
    contains "$(installer)" "Nothing to change"
    lab bash -ec 'jq ".containers += { \"web-03\": {} }" /etc/opdbus/config.json >/root/new.json && cp /root/new.json /etc/opdbus/config.json'
    installer >"$OUT" 2>&1 || die "$(cat "$OUT")"
    until_true 60 containers_run 3 >/dev/null
    contains "$(installer)" "Nothing to change"
}

test_requirement_4_a_container_with_a_socket_is_talked_to() {
    opdbus container create web-04 --template debian-base --network socket --connect web-02 >/dev/null
    until_true 60 inside web-04 test -S /var/lib/op-dbus/sockets/containers/web-02/web-02.sock >/dev/null
    contains "$(inside web-04 curl --silent --max-time 10 --unix-socket /var/lib/op-dbus/sockets/containers/web-02/web-02.sock http://web-02/)" nginx
    opdbus container delete web-04 --force --yes
}

# The figure of the requirements is for text as it is; a log of ours, which repeats itself, takes less. What is measured is
# the disk: random bytes beside the same number of bytes of the ledger's own kind.
test_requirement_6_what_is_kept_is_compressed() {
    local subvolume ratio
    for subvolume in @cache @state @templates; do
        # 32 MiB of what journals and JSON are made of: words that come again, numbers that do not.
        ratio=$(lab bash -s "/var/lib/op-dbus/$subvolume/ratio" <<'RATIO'
set -eu
perl -e 'srand(7); my $n = 0; while ($n < 32 << 20) { my $l = sprintf("{\"time\":%d,\"operation\":\"container.create\",\"target\":\"web-%05d\",\"hash\":\"%08x%08x\"}\n", 1.7e9 + rand(1e8), rand(1e5), rand(2**32), rand(2**32)); $n += length $l; print $l }' >"$1"
sync --file-system "$1"
compsize --bytes "$1" | awk '$1 == "TOTAL" { print int($3 * 100 / $4) }'
rm "$1"
RATIO
        )
        show "$subvolume: $ratio % of what was written is on the disk"
        ((ratio > 5 && ratio < 70)) || die "$subvolume: $ratio %"
    done
}

test_requirement_7_the_ledger_has_its_genesis_block() {
    equal "0|genesis|system||$(printf '0%.0s' $(seq 64))" \
        "$(lab sqlite3 -readonly /var/lib/op-dbus/@timing/blockchain.db "SELECT id, operation, target, previous_hash, current_hash FROM operations WHERE id = 0")"
    contains "$(opdbus ledger verify)" whole
}

test_requirement_8_all_plugins_are_discovered() {
    local there found
    there=$(lab bash -c 'cd /var/lib/op-dbus/@plugins && ls -d */ | tr -d /' | sort | xargs)
    found=$(opdbus plugin list --json | jq --raw-output '.[].name' | sort | xargs)
    equal "$there" "$found"
    contains "$there" lxc
}

test_requirement_9_on_nixos_it_does_not_proceed_and_says_what_to_declare() {
    local before
    fresh
    lab touch /etc/NIXOS
    before=$(lab find /etc /usr/local /var/lib -xdev -newer /etc/NIXOS | sort)
    installer >"$OUT" 2>&1 || true
    contains "$(cat "$OUT")" "services.operation-dbus.enable = true"
    equal "$before" "$(lab find /etc /usr/local /var/lib -xdev -newer /etc/NIXOS | sort)" "changed files"
}
