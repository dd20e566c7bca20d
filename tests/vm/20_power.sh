# shellcheck shell=bash
# lab: vm bookworm
# Power cuts while it works. VM_CUTS says how many (default 3).
# shellcheck source=tests/vm/checks.sh
source "$REPO/tests/vm/checks.sh"

# What the load, which runs on this side of the cut, was told: "entry ID HASH" for an entry that it read, "begin NAME" and
# "is NAME" or "gone NAME" for a container, before it asked and when it had been told that it is done.
TOLD=$(mktemp)
teardown() {
    rm -f "$TOLD"
    "$REPO/lab/power" on >/dev/null 2>&1 || true
    # shellcheck disable=SC2046 # names
    forget $(opdbus container list --json | jq --raw-output '.[].name | select(startswith("cut-"))')
    if opdbus template list --json | grep --quiet '"cut"'; then opdbus template remove cut --yes >/dev/null; fi
}
told() { printf '%s\n' "$*" >>"$TOLD"; }
# No line of it may be half of another's: one write each.
told_the_newest_entry() {
    local entry
    entry=$(opdbus ledger show --json --limit 1 2>/dev/null | jq --raw-output '.[0] | "\(.id) \(.current_hash)"' 2>/dev/null) || return 1
    if [[ $entry == [0-9]*" "* ]]; then told "entry $entry"; fi
}

load_containers() {
    local name number
    for ((number = 1; ; number++)); do
        name=cut-$1-$number
        told "begin $name"
        opdbus container create "$name" --memory 256 --connect web-02 "${@:2}" --json >/dev/null 2>&1 || return 0
        told "is $name"
        told_the_newest_entry || return 0
        if ((number % 2)); then
            told "begin $name"
            opdbus container delete "$name" --force --yes >/dev/null 2>&1 || return 0
            told "gone $name"
        fi
    done
}
load_template() { while opdbus template build cut --rootfs /opt/lab/guest.tar.zst >/dev/null 2>&1; do told_the_newest_entry || return 0; done; }
load_ledger() { while opdbus config check /etc/opdbus/config.json >/dev/null 2>&1 && opdbus plan >/dev/null 2>&1; do told_the_newest_entry || return 0; done; }

one_cut() {
    local number=$1 delay id hash name entries containers started=$EPOCHREALTIME
    local -a pids=()
    # What was running, by turns.
    load_ledger &
    pids+=($!)
    case $((number % 3)) in
        0)
            load_template &
            pids+=($!)
            ;;
        1)
            load_containers "$number" &
            pids+=($!)
            ;;
        2)
            load_containers "$number-a" --no-start &
            pids+=($!)
            load_containers "$number-b" --no-start &
            pids+=($!)
            ;;
    esac
    delay=$((4 + RANDOM % 9)).$((RANDOM % 10))
    sleep "$delay"
    "$REPO/lab/power" cut
    wait "${pids[@]}" 2>/dev/null || true
    "$REPO/lab/power" on ||
        die "$(lab journalctl -b --no-pager -o short-monotonic -u 'opdbus-container*' -u opdbus-network | tail -n 150)"
    # The next run converges. At boot there was one already, of each helper.
    opdbus apply >/dev/null
    plan_is_empty
    until_true 120 containers_run_at_least_two >/dev/null
    nothing_half_made
    opdbus ledger verify >/dev/null || die "the ledger does not verify"
    # No entry is lost or another one.
    entries=$(opdbus ledger show --json --limit 0 | jq --raw-output '.[] | "\(.id) \(.current_hash)"')
    while read -r _ id hash; do
        grep --quiet --line-regexp --fixed-strings "$id $hash" <<<"$entries" || die "entry $id, which was read before the cut, is lost or another one"
    done < <(grep '^entry ' "$TOLD")
    # Nor a container that was said to be made, nor is one back that was said to be deleted.
    containers=$(opdbus container list --json | jq --raw-output '.[].name')
    while read -r name; do
        case $(grep --word-regexp -- "$name" "$TOLD" | tail -n1) in
            "is $name") grep --quiet --line-regexp --fixed-strings -- "$name" <<<"$containers" || die "$name, which was made, is lost" ;;
            "gone $name") if grep --quiet --line-regexp --fixed-strings -- "$name" <<<"$containers"; then die "$name, which was deleted, is back"; fi ;;
        esac
    done < <(awk '$1 == "begin" { print $2 }' "$TOLD" | sort -u)
    # Those that are there are whole: they start, and are deleted.
    for name in $(grep '^cut-' <<<"$containers" | tail -n1); do
        opdbus container start "$name" >/dev/null
        inside "$name" true </dev/null
    done
    show "cut $number after $delay s of load: $(grep --count '^entry ' "$TOLD") entries and $(grep --count '^is ' "$TOLD") containers acknowledged, $(grep --count '^cut-' <<<"$containers" || true) there; $(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f s", b - a }')"
    # shellcheck disable=SC2046 # names
    forget $(grep '^cut-' <<<"$containers" || true)
    : >"$TOLD"
}

containers_run_at_least_two() { (($(opdbus container list --json | jq '[.[] | select(.origin == "declared" and .state == "running")] | length') == 2)); }

test_after_a_power_cut_under_load_the_next_run_converges_and_nothing_acknowledged_is_lost() {
    local number
    for ((number = 1; number <= ${VM_CUTS:-3}; number++)); do one_cut "$number"; done
    check_everything_runs
}
