# shellcheck shell=bash
# lab: none
# The units that NixOS would run (tests/nix/goldens/workstation), run by systemd: both doors lead to the same host.

export LAB_NAME=test-nixos
GOLDEN=tests/nix/goldens/workstation
fresh() { "$REPO/lab/down" >/dev/null && "$REPO/lab/up" --yes --no-install >/dev/null; }
teardown() { "$REPO/lab/down" >/dev/null 2>&1 || true; }

# The host spec, for both hosts. The lab has no way to a mirror: its template is made of a tarball.
put_spec() {
    jq '.templates["debian-base"].rootfs = "/opt/lab/guest.tar.zst"' "$REPO/$GOLDEN/etc/opdbus/config.json" |
        lab tee /opt/lab/workstation.json >/dev/null
}

# What of a host is the door's and not the host's: who brought the units, and where they lie.
THE_HOST='del(.units)'
shown() { opdbus show --json | jq --sort-keys "$THE_HOST"; }

# Where each of our units is, without those of one door alone: with the installer, it is the installer that applies, and
# the uplink, which NixOS declares itself, is moved there only.
unit_states() {
    lab systemctl list-units --all --plain --no-legend --full 'opdbus*' |
        awk '$1 !~ /^opdbus-(apply|uplink)/ { print $1, $3 }' | sort
}

# A host as NixOS' activation would leave it before its first boot: files, programs, accounts, kernel settings.
lay_golden() {
    # shellcheck disable=SC2016 # the lab's shell
    lab bash -euo pipefail -c '
        golden=/opt/operation-dbus/$1
        programs=/nix/store/00000000000000000000000000000000-operation-dbus-0
        mkdir --parents "$programs"
        ln --symbolic /opt/programs "$programs/bin"
        ln --symbolic "$programs/bin/op-dbus" /usr/local/bin/op-dbus
        cp --recursive --no-dereference "$golden/etc/." /etc
        (cd "$golden" && grep --recursive --files-with-matches --null @operation-dbus@ etc) |
            (cd / && xargs --null sed --in-place "s#@operation-dbus@#$programs#")
        cp /opt/lab/workstation.json /etc/opdbus/config.json
        touch /etc/NIXOS
        jq --raw-output ".\"boot.kernel.sysctl\"[] | to_entries[] | \"\(.key) = \(if .value == true then 1 else .value end)\"" \
            "$golden/nixos.json" >/etc/sysctl.d/60-nixos.conf
        jq --raw-output ".\"users.groups\"[] | to_entries[] | .key as \$group | .value.members[] | \"\(\$group) \(.)\"" "$golden/nixos.json" |
            while read -r group member; do
                getent group "$group" >/dev/null || groupadd --system "$group"
                useradd --create-home --groups "$group" "$member"
            done' lay "$GOLDEN"
}

boot() {
    lab touch /run/before-the-reboot
    lab systemctl reboot || true
    # shellcheck disable=SC2016 # the lab's shell
    until_true 90 timeout --kill-after=1 5 "$REPO/lab/run" bash -c '! test -e /run/before-the-reboot && [[ $(systemctl is-system-running) == running ]]' >/dev/null
}

as() { lab runuser --user "$1" -- "${@:2}"; }

test_the_units_of_nixos_reach_the_host_that_the_installer_makes() {
    local installed nixos units init
    fresh
    put_spec
    installer --config /opt/lab/workstation.json
    until_true 20 containers_run 1 >/dev/null
    # As the other one is: booted, by systemd.
    boot
    until_true 20 containers_run 1 >/dev/null
    installed=$(shown)
    units=$(unit_states)

    fresh
    put_spec
    lay_golden
    boot
    until_true 20 containers_run 1 >/dev/null
    nixos=$(shown)
    [[ $installed == "$nixos" ]] || die "not the same host: $(diff <(echo "$installed") <(echo "$nixos"))"
    equal "$units" "$(unit_states)" "the states of the units"
    plan_is_empty
    equal nixos "$(opdbus ledger show --json --limit 1 | jq --raw-output '.[0].metadata.deployment')"
    opdbus ledger verify >/dev/null

    # What was declared runs, and works.
    equal "running 10.0.0.2" "$(opdbus container show dev-01 --json | jq --raw-output '"\(.state) \(.address)"')"
    equal dev-01 "$(inside dev-01 hostname)"
    inside dev-01 ip route get 10.0.0.1 >/dev/null

    # Who is not in the group is refused, who is in it by the configuration is not.
    lab useradd --create-home stranger
    refused as stranger op-dbus container create web-05 >/dev/null
    contains "$(cat "$OUT")" opdbus
    equal stranger "$(opdbus ledger show --json --operation container.create --limit 1 | jq --raw-output '.[0].metadata.caller.user')"
    contains "$(as alice op-dbus container list)" dev-01

    # What a rebuild does when the host spec changed, which it here did not: nothing is touched.
    init=$(lab systemctl show --property=MainPID,ActiveEnterTimestamp opdbus-container@dev-01.service opdbus.service)
    lab systemctl reload opdbus-storage.service opdbus-network.service
    lab systemctl restart opdbus-apply.service
    equal "$init" "$(lab systemctl show --property=MainPID,ActiveEnterTimestamp opdbus-container@dev-01.service opdbus.service)"
    equal "$nixos" "$(shown)" "after a rebuild without a change"
}
