# shellcheck shell=bash
# lab: installed
# What an installed host really answers is what `op-dbus schema` says; and what a dry run says is what happens then.

teardown() {
    opdbus container delete web-09 --force --yes >/dev/null 2>&1 || true
    opdbus snapshot list --json | jq --raw-output '.[] | .name | select(startswith("container-web-09"))' |
        while read -r left; do
            opdbus snapshot keep "$left" --off >/dev/null </dev/null
            opdbus snapshot delete "$left" --yes >/dev/null </dev/null
        done
    lab rm -f /root/all.jsonl /root/notes.plugin
}

test_replies_of_an_installed_host_are_as_their_schemas_say() {
    local replies name
    replies=$(mktemp -d)
    # reply OPERATION WORD…: keeps what it answers. Some end with 1 where something is not well.
    reply() { opdbus --json "${@:2}" >"$replies/$1.json" || [[ $? == 1 ]]; }
    reply plan plan
    reply apply apply
    reply show show
    reply query query
    reply introspect introspect --all
    reply introspect.values introspect org.freedesktop.login1 --values --activate
    reply doctor doctor
    reply doctor.fix doctor --fix
    reply drift.save drift --save
    reply drift drift
    reply bridge.uplink.status bridge uplink status
    reply container.create container create web-09 --connect web-02
    reply container.exec container exec web-09 -- true
    reply container.logs container logs web-09
    reply container.list container list
    reply container.show container show web-09
    reply container.stop container stop web-09
    reply container.start container start web-09
    reply snapshot.create snapshot create --of container/web-09
    name=$(jq --raw-output '.[0].name' "$replies/snapshot.create.json")
    reply snapshot.list snapshot list
    reply snapshot.keep snapshot keep "$name"
    opdbus snapshot keep "$name" --off >/dev/null
    reply snapshot.diff snapshot diff "$name"
    reply snapshot.restore snapshot restore "$name" --force
    reply container.delete container delete web-09 --force --yes
    reply snapshot.delete snapshot delete "$name" --yes
    reply template.list template list
    reply template.generations template generations debian-base
    reply plugin.list plugin list
    name=$(jq --raw-output '.[0].name' "$replies/plugin.list.json")
    reply plugin.show plugin show "$name"
    reply plugin.disable plugin disable "$name"
    reply plugin.enable plugin enable "$name"
    reply plugin.snapshot plugin snapshot "$name"
    reply plugin.send plugin send "$name" /root/notes.plugin
    reply ledger.show ledger show
    reply ledger.verify ledger verify
    reply ledger.export ledger export /root/all.jsonl
    for name in bridge container flows ledger plugin snapshot storage template; do
        lab "opdbus-$name" plan --json >"$replies/opdbus-$name plan.json"
        lab "opdbus-$name" status --json >"$replies/opdbus-$name status.json"
    done
    lab opdbus-storage apply --json >"$replies/opdbus-storage apply.json"
    lab opdbus-flows save --json >"$replies/opdbus-flows save.json"
    lab opdbus-flows restore --json >"$replies/opdbus-flows restore.json"
    lab opdbus-storage baseline --json >"$replies/opdbus-storage baseline.json"
    lab opdbus-snapshot run --json >"$replies/opdbus-snapshot run.json"
    lab opdbus-template list --json >"$replies/opdbus-template list.json"
    lab opdbus-template generations debian-base --json >"$replies/opdbus-template generations.json"
    lab opdbus-install --plan --json --bin-dir /opt/programs >"$replies/opdbus-install --plan.json"
    lab opdbus-install --uninstall --purge --plan --json >"$replies/opdbus-install --uninstall --plan.json"
    # The programs of the checkout are the lab's.
    OPDBUS_REPLIES=$replies cargo test --locked --quiet --manifest-path "$REPO/Cargo.toml" --test schemas -- --nocapture replies_that >"$OUT" 2>&1 ||
        die "$(grep --max-count=20 --after-context=30 'otherwise than' "$OUT" || tail -n 30 "$OUT")"
    show "$(grep 'replies are as' "$OUT")"
    rm -rf "$replies"
}

test_a_dry_run_says_what_would_go_and_leaves_it() {
    local name entry
    opdbus container create web-09 >/dev/null
    equal 5 "$(refused opdbus container delete web-09 --dry-run)" "it runs"
    contains "$(opdbus container delete web-09 --force --dry-run)" "- container web-09: it is stopped first"
    equal running "$(opdbus container show web-09 --json | jq --raw-output .state)"
    entry=$(opdbus ledger show --json --operation container.delete --target web-09 --limit 1)
    equal "ok true" "$(jq --raw-output '.[0].metadata | "\(.outcome) \(.arguments.dryRun)"' <<<"$entry")"
    refused opdbus container delete web-01 --force --dry-run >/dev/null
    contains "$(cat "$OUT")" "web-01"

    contains "$(opdbus snapshot create --of container/web-09 --dry-run)" "+ snapshot of container/web-09"
    equal 0 "$(opdbus snapshot list --of container/web-09 --json | jq length)"
    name=$(opdbus snapshot create --of container/web-09 --json | jq --raw-output '.[0].name')
    equal 5 "$(refused opdbus snapshot restore "$name" --dry-run)" "the container runs"
    contains "$(opdbus snapshot restore "$name" --force --dry-run)" "the container is stopped for it"
    contains "$(opdbus snapshot delete "$name" --dry-run)" "- snapshot $name"
    equal "$name" "$(opdbus snapshot list --of container/web-09 --json | jq --raw-output '.[].name')"
    contains "$(opdbus snapshot keep "$name" --dry-run)" "~ snapshot $name: kept"
    opdbus snapshot delete "$name" --yes >/dev/null
    opdbus container delete web-09 --force --yes >/dev/null

    contains "$(opdbus plugin snapshot lxc --dry-run)" "+ snapshot of @plugins/lxc"
    name=$(opdbus plugin send lxc /root/notes.plugin --json | jq --raw-output .snapshot)
    equal 5 "$(refused opdbus plugin receive /root/notes.plugin --dry-run)" "it is here"
    opdbus snapshot delete "$name" --yes >/dev/null
    entry=$(opdbus snapshot list --json; lab btrfs subvolume show /var/lib/op-dbus/@plugins/lxc)
    contains "$(opdbus plugin receive /root/notes.plugin --dry-run)" "~ plugin lxc: version 1.0.0 as $name has it; the present one is kept"
    equal "$entry" "$(opdbus snapshot list --json; lab btrfs subvolume show /var/lib/op-dbus/@plugins/lxc)"
    lab sh -c 'printf x | dd of=/root/notes.plugin bs=1 seek=400 conv=notrunc status=none'
    refused opdbus plugin receive /root/notes.plugin --dry-run >/dev/null
    equal 4 "$(refused opdbus container delete web-09 --dry-run)"
}
