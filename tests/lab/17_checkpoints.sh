# shellcheck shell=bash
# lab: installed
# Checkpoints of the ledger, made by the timer's unit on an installed host.

LEDGER=/var/lib/op-dbus/@timing/blockchain.db
VAULT=/mnt/vault

teardown() {
    lab sh -c 'if test -e /root/host-spec; then mv /root/host-spec /etc/opdbus/config.json; fi
        if test -e /root/whole.db; then cp /root/whole.db '"$LEDGER"' && rm /root/whole.db; systemctl start opdbus.service; fi
        if mountpoint --quiet '"$VAULT"'; then umount '"$VAULT"'; fi
        rm -rf '"$VAULT"' /root/notes /root/disk /root/*.jsonl /var/lib/op-dbus/@timing/last-checkpoint.json
        systemctl reset-failed opdbus-checkpoint.service 2>/dev/null; true'
}

# keeps TO: has the host spec name it.
keeps() {
    lab sh -c 'test -e /root/host-spec || cp /etc/opdbus/config.json /root/host-spec'
    lab cat /root/host-spec | jq --arg to "$1" '.ledger.checkpoints = { to: $to, every: "monthly" }' |
        lab tee /etc/opdbus/config.json >/dev/null
}

test_the_installer_made_the_key_and_the_timer_runs() {
    equal "600 root" "$(lab stat --format='%a %U' /etc/opdbus/ledger-key)"
    contains "$(lab opdbus-ledger key show)" "operation-dbus/ledger/"
    lab systemctl is-active --quiet opdbus-checkpoint.timer
    lab systemctl start opdbus-checkpoint.service
    refused lab test -e /var/lib/op-dbus/@timing/last-checkpoint.json >/dev/null
    plan_is_empty
}

test_the_unit_leaves_a_checkpoint_in_the_journal_that_the_ledger_is_held_against() {
    keeps journal
    lab systemctl start opdbus-checkpoint.service
    # shellcheck disable=SC2016 # the lab's own
    until_true 10 lab sh -c 'journalctl --output cat MESSAGE_ID=a4d2f6c9b1e84f0f9c6d7e20c35a8b17 >/root/notes && grep --quiet "^operation-dbus/ledger/" /root/notes' >/dev/null
    equal "$(lab sed -n 2p /root/notes)" "$(lab journalctl --output json MESSAGE_ID=a4d2f6c9b1e84f0f9c6d7e20c35a8b17 | head -n1 | jq --raw-output .OPDBUS_CHECKPOINT_SIZE)"
    opdbus ledger verify --against /root/notes --json >"$OUT"
    equal "true" "$(jq '.whole and .proven > 1' "$OUT")"
}

test_a_directory_is_written_only_while_it_is_mounted() {
    local size
    lab mkdir -p "$VAULT"
    keeps "$VAULT"
    refused lab systemctl start opdbus-checkpoint.service >/dev/null
    contains "$(lab journalctl --unit opdbus-checkpoint.service --output cat --lines 20)" "is not the directory that was prepared"
    equal 1 "$(refused opdbus ledger checkpoint)"
    contains "$(cat "$OUT")" "journalctl -u opdbus-checkpoint.service"
    equal "" "$(lab ls -A "$VAULT")" "nothing is left in the empty mount point"

    # A remote mount's stand-in: what is in it is not there when it is not mounted.
    lab mount -t tmpfs vault "$VAULT"
    lab opdbus-ledger checkpoint --to "$VAULT" --first >/dev/null
    opdbus ledger checkpoint --json >"$OUT"
    size=$(jq .size "$OUT")
    equal "$(jq --raw-output .note "$OUT")" "$(lab cat "$VAULT/checkpoint-$(printf %012d "$size")")"
    equal "ok $size" "$(opdbus ledger show --json --operation ledger.checkpoint --limit 1 | jq --raw-output '.[0].metadata | "\(.outcome) \(.result.checkpoint.size)"')"
    lab systemctl start opdbus-checkpoint.service
    equal "$(opdbus ledger checkpoint --json | jq .size)" "$((size + 2))" "one was asked for, and none was due before"

    lab umount "$VAULT"
    equal 1 "$(refused opdbus ledger checkpoint)"
    equal "" "$(lab ls -A "$VAULT")" "nothing is left in the empty mount point"
}

test_a_ledger_that_was_cut_short_is_refused_by_its_checkpoint() {
    keeps journal
    opdbus ledger checkpoint | lab tee /root/notes >/dev/null
    opdbus ledger verify --against /root/notes >/dev/null
    lab systemctl stop opdbus.service opdbus.socket
    lab sh -ec "sqlite3 $LEDGER 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null; cp $LEDGER /root/whole.db
        sqlite3 $LEDGER \"SELECT sql || ';' FROM sqlite_schema WHERE type = 'trigger'\" >/root/triggers
        sqlite3 $LEDGER \"SELECT 'DROP TRIGGER ' || name || ';' FROM sqlite_schema WHERE type = 'trigger'\" >/root/drop
        echo 'DELETE FROM operations WHERE id > 5; UPDATE head SET last_id = 5, last_hash = (SELECT current_hash FROM operations WHERE id = 5);' |
            cat /root/drop - /root/triggers | sqlite3 $LEDGER
        sqlite3 $LEDGER 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null; rm /root/triggers /root/drop"
    lab opdbus-ledger verify >/dev/null || die "the chain alone does not tell"
    lab systemctl start opdbus.socket opdbus.service
    equal 1 "$(refused opdbus ledger verify --against /root/notes)"
    contains "$(cat "$OUT")" "truncated"
    lab systemctl stop opdbus.service
    lab sh -c "rm -f $LEDGER-wal $LEDGER-shm; cp /root/whole.db $LEDGER && rm /root/whole.db"
    lab systemctl start opdbus.service
    opdbus ledger verify --against /root/notes >/dev/null
}

test_the_ledger_is_exported_whole_and_by_whom_it_may_be_read() {
    local entries
    lab op-dbus ledger export /root/all.jsonl --json >"$OUT"
    entries=$(jq .entries "$OUT")
    equal "$entries $(jq --raw-output .sha256 "$OUT")" "$(lab sh -c 'wc --lines </root/all.jsonl; sha256sum </root/all.jsonl' | tr '\n' ' ' | cut -d' ' -f1,2)"
    equal "$entries" "$(lab sh -c 'op-dbus ledger export 2>/dev/null' | jq --slurp 'length - 1')" "through a pipe, with the entry of the first export"
    lab sh -c 'id member >/dev/null 2>&1 || useradd --create-home --groups opdbus member'
    lab sh -c 'id stranger >/dev/null 2>&1 || useradd --create-home stranger'
    lab sh -c 'runuser --user member -- op-dbus ledger export 2>/dev/null' | jq --slurp 'length > 0' | grep --quiet true
    equal 6 "$(refused lab runuser --user stranger -- op-dbus ledger export /tmp/stranger.jsonl)"
    equal 6 "$(refused lab runuser --user member -- op-dbus ledger checkpoint)" "only root has one made"
}
