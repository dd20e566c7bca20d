# shellcheck shell=bash
# The goldens: what NixOS makes of the examples, as files. Sourced in the repository's root by tests/nix/update, which
# writes them, and by the tier `nix`, which compares them.

# So that every nixpkgs gives the same:
# - what NixOS puts into the environment of every unit (PATH, the locales, the time zones) is its own affair;
# - the triggers of a rebuild hold a hash of what they watch, and it is that they are there which counts;
# - store paths lose hash and version.
NORMAL='
    /^Environment="?(PATH|LOCALE_ARCHIVE|TZDIR)=/d
    s/^(X-Re(load|start)-Triggers)=.*/\1=@changes@/
    s#/nix/store/[a-z0-9]{32}-operation-dbus-[0-9][0-9.]*#@operation-dbus@#g
    s#/nix/store/[a-z0-9]{32}-([A-Za-z0-9._+-]*)-[0-9][A-Za-z0-9._+]*#@\1@#g
    s#/nix/store/[a-z0-9]{32}-([A-Za-z0-9._+-]*)#@\1@#g
'

# The requirements' example imports the module from beside itself: ask PROGRAM ARGUMENT… has it in such a place.
ask() {
    local status=0 away
    away=$(mktemp --directory)
    cp tests/nix/requirements/configuration.nix "$away"
    ln --symbolic "$PWD" "$away/operation-dbus"
    "$1" --argstr requirements "$away/configuration.nix" "${@:2}" || status=$?
    rm -r "$away"
    return "$status"
}

# goldens_into DIRECTORY: the goldens and the options' document, from an evaluation by NIXPKGS_PATH.
goldens_into() {
    local to=$1 file built example
    mkdir --parents "$to/docs" "$to/tests/nix"
    ask nix-instantiate --eval --json --attr documentation tests/nix | jq --join-output . >"$to/docs/nixos-options.md"
    built=$(ask nix-build --no-out-link --attr goldens tests/nix)
    for example in "$built"/*; do
        mkdir --parents "$to/tests/nix/goldens/${example##*/}"
        cp --recursive --no-preserve=mode "$example/." "$to/tests/nix/goldens/${example##*/}"
    done
    while read -r -d '' file; do
        case $file in
            *.json) jq --sort-keys . "$file" ;;
            *) cat --squeeze-blank "$file" ;;
        esac | sed --regexp-extended "$NORMAL" >"$to/one"
        mv "$to/one" "$file"
    done < <(find "$to/tests/nix/goldens" -type f -print0)
}

# What the goldens are made of, and they themselves as they are below DIRECTORY, by their hashes: where nothing can be
# evaluated, this tells whether they still belong together.
golden_sums() {
    find nixos/{modules,examples,default.nix,options.nix} systemd tests/nix/{default.nix,golden.nix,lib.sh,requirements} \
        -type f -print0 | LC_ALL=C sort --zero-terminated | xargs --null sha256sum
    cd "$1" && {
        find docs/nixos-options.md tests/nix/goldens -type f -print0 | LC_ALL=C sort --zero-terminated | xargs --null sha256sum
        find tests/nix/goldens -type l -printf '%l <- %p\n' | LC_ALL=C sort
    }
}
