#!/usr/bin/env bash
# Installs operation-dbus on Debian (12, 13) or Ubuntu: gets the packages and the programs, then runs
# opdbus-install, which does the thirteen steps. On NixOS it explains the declarative way and changes nothing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin_dir=""
plan=no
generate=no
arguments=("$@")

usage() {
    cat <<'USAGE'
Usage: install-opdbus.sh [OPTION]...
Installs operation-dbus on this host, or upgrades what is installed.

  --plan               show what would be done, and change nothing
  --yes                do not ask for confirmation
  --bin-dir DIR        where the built programs are; without it they are built here with cargo
  --base-path DIR      where the data lives (default /var/lib/op-dbus)
  --btrfs-image SIZE   keep the data in a btrfs image of this size (20G), where the disk is not btrfs
  --rootfs FILE        make the template from this root file system tarball instead of a mirror
  --config FILE        the host spec to begin with
  --generate-nix-config [FILE]
                       write the host spec, or what these options would make it, as a NixOS configuration
                       (default /tmp/operation-dbus-config.nix; - prints it), and do nothing else
  --json               print the result as JSON
  --help               this text

Example: ./install-opdbus.sh --yes --btrfs-image 20G
USAGE
}

for ((i = 0; i < ${#arguments[@]}; i++)); do
    case ${arguments[i]} in
        --help | -h) usage && exit 0 ;;
        --plan) plan=yes ;;
        --generate-nix-config | --generate-nix-config=*) generate=yes ;;
        --bin-dir) bin_dir=${arguments[i + 1]:?"--bin-dir needs a directory"} ;;
        --bin-dir=*) bin_dir=${arguments[i]#--bin-dir=} ;;
    esac
done

# Needs none of the packages, and runs anywhere.
if [[ $generate == yes ]]; then
    for program in "${bin_dir:+$bin_dir/opdbus-install}" "$(command -v opdbus-install || true)" "$here/target/release/opdbus-install"; do
        if [[ -n $program && -x $program ]]; then exec "$program" "${arguments[@]}"; fi
    done
    echo "error: the programs are not installed: name their directory with --bin-dir, or build them (cargo build --release)" >&2
    exit 7
fi

if [[ -e /etc/NIXOS ]]; then
    cat <<'ADVICE'
═══════════════════════════════════════════════════════
NixOS detected!
═══════════════════════════════════════════════════════

For NixOS, use the declarative configuration instead of this script.

Quick start:
1. Clone this repository to /etc/nixos/operation-dbus:
     cd /etc/nixos
     git clone https://github.com/repr0bated/operation-dbus.git

2. Import the module in /etc/nixos/configuration.nix:
     imports = [ ./operation-dbus/nixos/modules/operation-dbus.nix ];

3. Enable it:
     services.operation-dbus.enable = true;

4. Apply the configuration:
     sudo nixos-rebuild switch

Exiting (no changes made).
ADVICE
    exit 0
fi

# What opdbus-install and the programs call. debootstrap is not needed beside mmdebstrap.
packages=(btrfs-progs openvswitch-switch lxc nftables iproute2 ethtool mmdebstrap dbus tar zstd)

missing_packages() {
    local package
    for package in "${packages[@]}"; do
        [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
    done
}

if ! command -v dpkg-query >/dev/null; then
    echo "error: this is neither NixOS nor a Debian: only those are supported" >&2
    exit 7
fi
mapfile -t missing < <(missing_packages)
if ((${#missing[@]})); then
    if [[ $plan == yes ]]; then
        echo "would install the packages: ${missing[*]}"
    elif [[ $EUID -ne 0 ]]; then
        echo "error: only root can install packages; run this as root" >&2
        exit 6
    else
        echo "Installing the packages: ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update --quiet=2
        # lxcbr0 is not needed, and what a recommendation brings is not ours to bring.
        apt-get install --yes --quiet=2 --no-install-recommends "${missing[@]}"
    fi
fi

if [[ -z $bin_dir ]]; then
    if ! command -v cargo >/dev/null; then
        echo "error: there is no cargo to build the programs with; name their directory with --bin-dir," >&2
        echo "  or install Rust (https://rustup.rs) and run this again" >&2
        exit 7
    fi
    echo "Building the programs"
    (cd "$here" && cargo build --release --locked --quiet)
    bin_dir=$here/target/release
    arguments+=(--bin-dir "$bin_dir")
fi
exec "$bin_dir/opdbus-install" "${arguments[@]}"
