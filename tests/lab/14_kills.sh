# shellcheck shell=bash disable=SC2016 # variables of the lab's own shells
# lab: installed
# Killed at any instant, the next run converges. LAB_KILLS=100 for the long run (each of the tests below).

# What must hold after any kill, once one run went through: nothing half-made, a whole ledger, a host that is well.
converges() {
    opdbus doctor --fix >"$OUT" 2>&1 || die "$1: $(grep --after-context=3 PROBLEM "$OUT" || cat "$OUT")"
    equal "" "$(lab find /var/lib/op-dbus /etc/opdbus -maxdepth 4 -name '.opdbus-*' -not -path '*/rootfs/*')" "$1: left"
    plan_is_empty
}

test_opdbusd_killed_while_it_creates_and_deletes_loses_nothing_that_was_acknowledged() {
    local kills=${LAB_KILLS:-20}
    until_true 60 containers_run >/dev/null
    lab bash -s "$kills" >"$OUT" 2>&1 <<'KILLS' || die "$(tail -n 20 "$OUT")"
set -uo pipefail
fail() { echo "kill $kill: $*"; exit 1; }
acknowledged=0
for kill in $(seq "$1"); do
    name=kill-$kill
    # Kept: what is deleted here was made whole before.
    op-dbus container create "old-$kill" --no-start >/dev/null || fail "cannot create old-$kill"
    op-dbus container create "$name" --no-start --json >/tmp/made 2>/dev/null & create=$!
    op-dbus container delete "old-$kill" --yes >/dev/null 2>&1 & delete=$!
    sleep "0.0$((RANDOM % 5))$((RANDOM % 10))"
    systemctl kill --signal=KILL opdbus.service
    wait "$create"; created=$?
    wait "$delete"; deleted=$?
    systemctl reset-failed opdbus.service 2>/dev/null
    systemctl start opdbus.service || fail "the daemon does not start"
    # The next run.
    op-dbus apply >/dev/null || fail "apply: $(op-dbus apply 2>&1)"
    op-dbus plan --json | jq --exit-status '.changes == []' >/dev/null || fail "plan: $(op-dbus plan)"
    left=$(find /var/lib/op-dbus -maxdepth 4 -name '.opdbus-*' -not -path '*/rootfs/*')
    [[ -z $left ]] || fail "left: $left"
    entry() { op-dbus ledger show --json --operation "$1" --target "$2" --limit 1 | jq --raw-output '.[0].metadata.outcome // "none"'; }
    if ((created == 0)); then
        acknowledged=$((acknowledged + 1))
        op-dbus container show "$name" >/dev/null || fail "$name was acknowledged and is not there"
        [[ $(entry container.create "$name") == ok ]] || fail "the creation of $name was acknowledged and is not in the ledger"
    fi
    if ((deleted == 0)); then
        ! op-dbus container show "old-$kill" >/dev/null 2>&1 || fail "old-$kill was deleted and is there"
        [[ $(entry container.delete "old-$kill") == ok ]] || fail "the deletion of old-$kill is not in the ledger"
    fi
    # Whole or not at all: one that is there starts, with an identity of its own.
    for there in "$name" "old-$kill"; do
        if op-dbus container show "$there" >/dev/null 2>&1; then
            if ((kill % 5 == 0)); then
                op-dbus container start "$there" >/dev/null || fail "$there does not start"
                [[ $(op-dbus container exec "$there" -- hostname) == "$there" ]] || fail "$there has another name"
            fi
            op-dbus container delete "$there" --force --yes >/dev/null || fail "cannot delete $there"
        fi
    done
done
op-dbus ledger verify >/dev/null || fail "$(op-dbus ledger verify)"
echo "$acknowledged of $1 creations were acknowledged before the kill"
KILLS
    show "$kills kills: $(tail -n1 "$OUT")"
    equal 0 "$(lab bash -c 'ovs-vsctl list-ports ovsbr0 | grep --count -E "oc-(kill|old)-"' || true)" "ports"
    equal 0 "$(lab bash -c 'ls /var/lib/op-dbus/containers | grep --count -E "^(kill|old)-"' || true)" "containers"
    converges "after the kills"
}

test_the_daemon_comes_back_however_often_it_dies() {
    for _ in $(seq 8); do
        lab systemctl kill --signal=KILL opdbus.service
        until_true 10 opdbus container list >/dev/null
    done
}
