# shellcheck shell=bash disable=SC2154
# What lab/up and tests/run install on this machine, and how they ask. Sourced after lab/lib.sh, with yes=yes or
# yes=no.

# agreed QUESTION: --yes, or a yes at the terminal.
agreed() {
    local answer
    if [[ $yes == yes ]]; then return 0; fi
    if [[ ! -t 0 ]]; then return 1; fi
    read -r -p "$1 [y/N] " answer
    [[ $answer == [yY]* ]]
}

missing_packages() {
    local package
    for package in "$@"; do
        [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
    done
}

# need_packages PACKAGE…: has apt install those that are not there.
need_packages() {
    local -a missing
    command -v apt-get >/dev/null || fail 7 "this machine has no apt: this needs a Debian or one of its relatives"
    mapfile -t missing < <(missing_packages "$@")
    if ((${#missing[@]} == 0)); then return 0; fi
    note "This machine lacks the packages: ${missing[*]}"
    agreed "Install them with apt-get?" ||
        fail 7 "they were not installed" "give --yes, or apt-get install ${missing[*]}"
    apt_install "${missing[@]}"
}

apt_install() {
    local out
    out=$({
        DEBIAN_FRONTEND=noninteractive apt-get update --quiet=2 &&
            DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends "$@"
    } 2>&1 9>&-) || fail 1 "apt-get could not install $*: $(tail -n5 <<<"$out")"
}

# Rust of at least the version that Cargo.toml states, on the path of who called (with sudo: of who called sudo).
need_rust() {
    local wanted have home
    if [[ -n ${SUDO_USER:-} ]]; then
        home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
        export RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup} CARGO_HOME=${CARGO_HOME:-$home/.cargo}
    fi
    if ! command -v cargo >/dev/null; then PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH; fi
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$REPO/Cargo.toml")
    have=$(rustc --version 2>/dev/null | cut -d' ' -f2 || true)
    if [[ -n $have ]] && command -v cargo >/dev/null &&
        printf '%s\n%s\n' "$wanted" "$have" | sort --check=quiet --version-sort; then
        # SQLite is compiled into the programs.
        need_packages gcc libc6-dev
        return 0
    fi
    note "The programs need Rust $wanted or newer; here is ${have:-none}."
    note "rustup, Rust's own installer, brings it for $(id -un) alone (${CARGO_HOME:-$HOME/.cargo} and ${RUSTUP_HOME:-$HOME/.rustup}):"
    note "  where Debian has it (13 and later): apt-get install rustup && rustup toolchain install stable"
    note "  elsewhere: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default"
    note "Debian 12's own rustc is 1.63, which is too old."
    agreed "Install it now?" ||
        fail 7 "there is no Rust to build the programs with" "give --yes, or install it as above"
    if ! command -v rustup >/dev/null && [[ -n $(apt-cache policy rustup 2>/dev/null | awk '/Candidate:/ && $2 != "(none)"') ]]; then
        apt_install rustup
    fi
    if command -v rustup >/dev/null; then
        rustup toolchain install stable --profile default 9>&- && rustup default stable 9>&-
    else
        need_packages curl ca-certificates
        (set -o pipefail && curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default --no-modify-path) 9>&-
    fi || fail 7 "Rust could not be installed" "install it by hand, as above"
    hash -r
    command -v cargo >/dev/null || fail 7 "Rust was installed, and there is still no cargo in $PATH"
    need_packages gcc libc6-dev
}
