#!/usr/bin/env bash
# Installs operation-dbus on Debian (12, 13) or Ubuntu: gets the packages and the programs, then runs
# opdbus-install, which does the thirteen steps. On NixOS it explains the declarative way and changes nothing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin_dir=""
plan=no
generate=no
uninstall=no
purge=no
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
  --uplink NIC         at the end, make this network card a port of the bridge; it is moved back by itself unless
                       `op-dbus bridge uplink confirm` is called in time
  --within SECONDS     how long that is (default 120)
  --generate-nix-config [FILE]
                       write the host spec, or what these options would make it, as a NixOS configuration
                       (default /tmp/operation-dbus-config.nix; - prints it), and do nothing else
  --uninstall          take operation-dbus off this host; its data and the host spec stay
  --purge              with --uninstall: destroy the data and the host spec, too; lists what goes and asks for
                       the host's name, which --yes skips
  --json               print the result as JSON
  --help               this text

Example: ./install-opdbus.sh --yes --btrfs-image 20G
USAGE
}

for ((i = 0; i < ${#arguments[@]}; i++)); do
    case ${arguments[i]} in
        --help | -h) usage && exit 0 ;;
        --plan) plan=yes ;;
        --uninstall) uninstall=yes ;;
        --purge) purge=yes ;;
        --generate-nix-config | --generate-nix-config=*) generate=yes ;;
        --bin-dir) bin_dir=${arguments[i + 1]:?"--bin-dir needs a directory"} ;;
        --bin-dir=*) bin_dir=${arguments[i]#--bin-dir=} ;;
    esac
done

# Becomes the opdbus-install that is there already, with the arguments as they are.
hand_over() {
    local program
    for program in "${bin_dir:+$bin_dir/opdbus-install}" "$(command -v opdbus-install || true)" /usr/local/bin/opdbus-install "$here/target/release/opdbus-install"; do
        if [[ -n $program && -x $program ]]; then exec "$program" "${arguments[@]}"; fi
    done
}

# Needs none of the packages, and runs anywhere.
if [[ $generate == yes ]]; then
    hand_over
    echo "error: the programs are not installed: name their directory with --bin-dir, or build them (cargo build --release)" >&2
    exit 7
fi

# Needs none of the packages, and builds nothing.
if [[ $uninstall == yes || $purge == yes ]]; then
    if [[ -e /etc/NIXOS ]]; then
        echo "error: this host is NixOS: it is declared, and nothing is uninstalled by hand" >&2
        echo "  next: set services.operation-dbus.enable = false and run nixos-rebuild switch; the data stays" >&2
        exit 5
    fi
    hand_over
    # They go last of all, so without them nothing is left but what an uninstall keeps.
    if [[ $purge == yes && (-e /etc/opdbus/config.json || -e /var/lib/op-dbus) ]]; then
        echo "error: the programs are not installed; the host spec or the data may still be there" >&2
        echo "  next: name the directory of built programs with --bin-dir, or build them (cargo build --release)" >&2
        exit 7
    fi
    echo "Nothing to uninstall: the programs of operation-dbus are not on this host."
    exit 0
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
# Where the kernel has AppArmor, LXC makes a profile for each container, and starts none without the parser.
if [[ $(cat /sys/module/apparmor/parameters/enabled 2>/dev/null) == Y ]]; then packages+=(apparmor); fi

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
