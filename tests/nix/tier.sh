# shellcheck shell=bash disable=SC2154
# The tier `nix`. Sourced by tests/run. Functions that `check` calls run without errexit: what must hold is chained.
# shellcheck source=tests/nix/lib.sh
source "$REPO/tests/nix/lib.sh"

DEADNIX=1.3.1
NIXFMT=0.5.3

tier_nix() {
    need_packages git jq python3-minimal systemd
    # A Nix that is here is taken, whoever installed it.
    if ! command -v nix-instantiate >/dev/null; then need_packages nix-bin; fi
    mapfile -t nix_files < <(git ls-files --cached --others --exclude-standard '*.nix')

    check files-parse nix-instantiate --parse "${nix_files[@]}"
    check formatting nix_is_formatted
    check no-dead-code no_dead_nix
    check lock-file lock_file_is_sound
    check goldens-are-of-these-sources goldens_are_fresh
    check goldens-are-whole goldens_are_whole
    check golden-units-are-sound golden_units_are_sound
    check golden-specs-are-accepted golden_specs_are_accepted

    with_nixpkgs goldens-are-what-nixos-makes goldens_compare
    with_nixpkgs hosts-and-images-evaluate hosts_evaluate
    with_nixpkgs the-good-host-evaluates evaluates_with ""
    with_nixpkgs wrong-configurations-are-refused wrong_are_refused
    with_nixpkgs examples-of-options-are-right option_examples_are_right
    with_nixpkgs options-document-builds options_document_builds
    with_nixpkgs host-specs-come-back-from-nixos host_specs_come_back
    with_nixpkgs vm-tests-evaluate tests/nix/check-vm-tests
    with_nixpkgs flake-check flake_check
}

# A check that evaluates NixOS. CI has no nixpkgs: there it is shown as skipped, and does not fail.
with_nixpkgs() {
    if [[ -n ${NIXPKGS_PATH:-} ]]; then
        check "$@"
    elif [[ " ${OPDBUS_REQUIRED:-} " == *" nixpkgs "* ]]; then
        check "$1" bash -c 'echo "NIXPKGS_PATH is not set, and nixpkgs is required"; exit 1'
    else
        skip "$1" "NIXPKGS_PATH names no nixpkgs to evaluate with"
    fi
}

nix_is_formatted() {
    # The requirements' example stays as it was written.
    cargo_tool nixfmt "$NIXFMT" nixfmt_rs &&
        printf '%s\n' "${nix_files[@]}" | grep --invert-match '^tests/nix/requirements/configuration.nix$' |
        xargs "$REPO/target/tools/bin/nixfmt" --check
}

no_dead_nix() { cargo_tool deadnix "$DEADNIX" && "$REPO/target/tools/bin/deadnix" --fail "${nix_files[@]}"; }

# Every input is pinned to a commit of a public repository, with its hash, and none to a path of somebody's.
lock_file_is_sound() {
    local inputs
    inputs=$(nix-instantiate --eval --strict --json --expr 'builtins.attrNames (import ./flake.nix).inputs') &&
        jq --exit-status --argjson inputs "$inputs" '
            .nodes as $nodes
            | if .version != 7 then error("version is not 7") else . end
            | if ($nodes[.root].inputs | keys) != ($inputs | sort)
              then error("the inputs of root are not those of flake.nix") else . end
            | $nodes | del(.root) | to_entries[]
            | .key as $name | .value.locked
            | if .type == "github"
                and (.owner | test("^[A-Za-z0-9-]+$")) and (.repo | test("^[A-Za-z0-9._-]+$"))
                and (.rev | test("^[0-9a-f]{40}$"))
                and (.narHash | test("^sha256-[A-Za-z0-9+/]{43}=$"))
                and (.lastModified | type == "number" and . > 1700000000)
                and $nodes[$name].original.type == "github"
              then true else error("the node \($name) is not pinned as it should be: \(.)") end' flake.lock
}

STALE='The goldens are not of these sources. Have them written anew, and look at what changed:
    NIXPKGS_PATH=/path/to/a/checkout/of/nixpkgs tests/nix/update'

goldens_are_fresh() {
    (golden_sums .) | diff --unified=0 tests/nix/goldens.sha256 - || {
        echo "$STALE"
        return 1
    }
}

goldens_are_whole() {
    local bad=0 example
    for example in nixos/examples/*.nix requirements; do
        [[ -d tests/nix/goldens/$(basename "$example" .nix) ]] || { echo "no golden of $example" && bad=1; }
    done
    if grep --recursive --line-number /nix/store tests/nix/goldens docs/nixos-options.md; then bad=1; fi
    if find tests/nix/goldens -name failed-assertions.txt -size +0 | grep .; then bad=1; fi
    if find tests/nix/goldens -xtype l | grep .; then bad=1; fi
    # The requirements' own example warns of the key that everybody can read.
    grep --quiet 'netmaker.joinKey is readable by everybody' tests/nix/goldens/requirements/warnings.txt || bad=1
    return "$bad"
}

golden_units_are_sound() {
    local golden units unit bad=0
    for golden in tests/nix/goldens/*; do
        units=$work/golden/${golden##*/}
        mkdir -p "$units"
        cp --recursive "$golden/etc/systemd/system/." "$units"
        # A program that is here stands for those that are not.
        find "$units" -type f -exec sed --in-place 's#@operation-dbus@/bin/[a-z-]*#/bin/true#' {} +
        verify_units "$units"/*.{service,socket,timer} | grep 'opdbus\|op\\x2ddbus' && bad=1
        # A rebuild reloads these.
        while read -r unit; do
            grep --quiet '^ExecReload=' "${unit%.d/overrides.conf}" || { echo "$unit: there is nothing to reload with" && bad=1; }
        done < <(grep --recursive --files-with-matches '^X-Reload-Triggers=' "$units")
    done
    return "$bad"
}

golden_specs_are_accepted() {
    local spec
    cargo build --quiet --locked --bin op-dbus || return 1
    for spec in tests/nix/goldens/*/etc/opdbus/config.json; do
        # What stands for a path in the store.
        sed 's#"@\([A-Za-z0-9._+-]*\)@#"/nix/store/\1#' "$spec" >"$work/spec.json"
        target/debug/op-dbus config check "$work/spec.json" || return 1
    done
}

goldens_compare() {
    local bad=0
    goldens_into "$work/anew" || return 1
    diff --recursive --no-dereference --unified tests/nix/goldens "$work/anew/tests/nix/goldens" || bad=1
    diff --unified docs/nixos-options.md "$work/anew/docs/nixos-options.md" || bad=1
    if ((bad)); then echo "$STALE"; fi
    return "$bad"
}

hosts_evaluate() {
    ask nix-instantiate --eval --strict --json --attr toplevels tests/nix 2>"$work/warnings" | jq . || {
        cat "$work/warnings"
        return 1
    }
    grep 'netmaker.joinKey is readable by everybody' "$work/warnings"
}

# evaluates_with FILE-OR-NOTHING: the host, with this on top of it.
evaluates_with() { nix-instantiate --eval --expr "(import ./tests/nix { }).host ${1:-\"\"}"; }

# Each is refused, in words that its first lines say.
wrong_are_refused() {
    export -f evaluates_with wrong_is_refused
    # shellcheck disable=SC2016 # the inner shell's
    find tests/nix/wrong -name '*.nix' -print0 | sort --zero-terminated |
        xargs --null --max-args=1 --max-procs="$(nproc)" bash -c 'wrong_is_refused "./$1"' each
}
wrong_is_refused() {
    local said wanted bad=0
    if said=$(evaluates_with "$1" 2>&1); then
        echo "$1 is accepted"
        return 1
    fi
    # The error itself, without the trace that leads to it, and its lines joined.
    said=$(tr --squeeze-repeats '[:space:]' ' ' <<<"${said##*error: }")
    wanted=$(sed --quiet 's/^# expects: //p' "$1")
    if (($(wc --lines <<<"$wanted") < 2)); then echo "$1 does not expect a name and a mend" && bad=1; fi
    while read -r text; do
        if [[ $said != *"$text"* ]]; then echo "$1 is refused without a word of '$text': $said" && bad=1; fi
    done <<<"$wanted"
    return "$bad"
}

option_examples_are_right() {
    local wrong
    # The examples that are written as Nix are parsed, from files.
    wrong=$(nix-instantiate --eval --strict --json --read-write-mode --attr examples tests/nix) &&
        jq --raw-output '.[]' <<<"$wrong" && [[ $wrong == "[]" ]]
}

# What the flake builds is what is committed.
options_document_builds() {
    local built
    built=$(nix-build --no-out-link --expr 'let pkgs = import (builtins.getEnv "NIXPKGS_PATH") { }; in pkgs.callPackage ./nixos/options.nix { }') &&
        diff --unified docs/nixos-options.md "$built/options.md" &&
        jq --exit-status '."services.operation-dbus.enable".type == "boolean"' "$built/options.json"
}

# 200 random host specs, written as configurations and evaluated: a minute.
host_specs_come_back() {
    local -a tests
    mapfile -t tests < <(integration_tests nix)
    OPDBUS_NIX_EVAL=$REPO/tests/nix/evaluate-specs cargo test --locked "${tests[@]}" -- --ignored
}

flake_check() {
    local -a overrides=(--override-input nixpkgs "path:$NIXPKGS_PATH")
    if [[ -n ${CRANE_PATH:-} ]]; then overrides+=(--override-input crane "path:$CRANE_PATH"); fi
    nix --extra-experimental-features "nix-command flakes" flake check --no-build --all-systems --no-write-lock-file "${overrides[@]}" .
}
