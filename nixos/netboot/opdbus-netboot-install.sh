#!/usr/bin/env bash
# Installs NixOS with operation-dbus on a disk, in the layout that was declared when the image was made. The disk is
# erased, and only after its name was typed. In the image the two variables are set:
#   OPDBUS_LAYOUT   the declared layout, as JSON
#   OPDBUS_FILES    a directory: what becomes /etc/nixos
set -euo pipefail
: "${OPDBUS_LAYOUT:?}" "${OPDBUS_FILES:?}"

usage() {
    cat <<'USAGE'
Usage: opdbus-netboot-install [OPTION]... [DISK]
Installs NixOS with operation-dbus on DISK, all of which is erased after you have confirmed it.
Where this image declares a disk, it is that one and no other.

  --dry-run          show the disk, what it holds and what would be done, and stop there
  --yes-erase DISK   do not ask: erase DISK, by the name that would have been asked for (sda). It must be the disk
                     that is installed on. Nothing asks for root's password then either
  --root DIR         where the new system is mounted meanwhile (default /mnt)
  --help             this text

Without DISK, where none is declared: the disks of this machine.
Exit status: 0 done, 1 failed, 2 usage, 3 invalid, 4 not found, 5 in use or not the declared one, 6 not confirmed.
USAGE
}

# fail STATUS WHAT [NEXT]
fail() {
    echo "error: $2" >&2
    if [[ -n ${3:-} ]]; then echo "  $3" >&2; fi
    exit "$1"
}

declared() { jq --raw-output "$1" "$OPDBUS_LAYOUT"; }
about() { lsblk --noheadings --output "$1" "${@:2}"; }

dry_run=no erase="" root=/mnt disk=""
while (($#)); do
    case $1 in
        --help | -h) usage && exit 0 ;;
        --dry-run) dry_run=yes && shift ;;
        --yes-erase) erase=${2:?"--yes-erase needs the name of a disk"} && shift 2 ;;
        --root) root=${2:?"--root needs a directory"} && shift 2 ;;
        -*) fail 2 "'$1' is not an option" "opdbus-netboot-install --help" ;;
        *)
            [[ -z $disk ]] || fail 2 "'$disk' and '$1' are two disks, and one is installed on"
            disk=$1 && shift
            ;;
    esac
done
((EUID == 0)) || fail 6 "only root can install"

# Which disk.
only=$(declared '.disk // ""')
asked=${disk:-$only}
if [[ -z $asked ]]; then
    lsblk --nodeps --output NAME,TYPE,SIZE,MODEL,SERIAL
    fail 2 "this image declares no disk" "name one of those: opdbus-netboot-install --dry-run DISK"
fi
[[ $asked == /* ]] || asked=/dev/$asked
disk=$(readlink --canonicalize-existing -- "$asked") || fail 4 "there is no $asked here" "lsblk lists the disks"
if [[ -n $only ]]; then
    [[ $disk == "$(readlink --canonicalize -- "$only")" ]] ||
        fail 5 "$asked is not the disk that this image is for, $only" "leave it out, or make an image that declares it"
fi
[[ -b $disk ]] || fail 3 "$asked is not a disk"
name=${disk##*/}
type=$(about TYPE --nodeps "$disk")
[[ $type == disk || $type == loop ]] || fail 3 "$asked is a $type and not a whole disk" "lsblk shows which disk it is on"
[[ $(about RO --nodeps "$disk" | tr --delete ' ') == 0 ]] || fail 3 "$asked cannot be written to"

# Whether it is free.
mounted=$(about MOUNTPOINTS "$disk" | awk NF)
[[ -z $mounted ]] ||
    fail 5 "$name is in use: mounted at ${mounted//$'\n'/, }" "umount it (swapoff for [SWAP]) if it is the right disk"
stacked=$(about TYPE "$disk" | grep --invert-match --line-regexp --extended-regexp 'disk|loop|part' | sort --unique || true)
[[ -z $stacked ]] || fail 5 "$name is in use: it is part of a ${stacked//$'\n'/, }" "close that first if it is the right disk"

esp=$(declared .espSize) label=$(declared .label)
needed=$(($(numfmt --from=iec "$esp") + 8 * 1024 ** 3))
(($(about SIZE --bytes --nodeps "$disk") >= needed)) ||
    fail 3 "$name is too small: the EFI system partition of $esp and a NixOS need $(numfmt --to=iec "$needed")"

# By mount point, so that those above come first: name, a tab, mount point.
mapfile -t subvolumes < <(declared '.subvolumes | to_entries | sort_by(.value)[] | "\(.key)\t\(.value)"')
options=$(declared '.mountOptions | join(",")')

echo "The disk:"
lsblk --nodeps --output NAME,SIZE,MODEL,SERIAL,PATH "$disk" | sed 's/^/  /'
echo "What it holds, all of which is erased:"
# Read from the disk itself; what lsblk knows is udev's, and may be of yesterday.
for node in $(about PATH --list "$disk"); do
    printf '  %-12s %8s  %s\n' "${node##*/}" "$(about SIZE --nodeps "$node")" \
        "$(blkid --probe -s PTTYPE -s PART_ENTRY_NAME -s TYPE -s LABEL -- "$node" | cut --delimiter=' ' --fields=2-)"
done
echo "What it will hold:"
printf '  partition 1, %s, vfat, label ESP: /boot\n' "$esp"
printf '  partition 2, the rest, btrfs, label %s (%s):\n' "$label" "$options"
for line in "${subvolumes[@]}"; do printf '    subvolume %s: %s\n' "${line%$'\t'*}" "${line#*$'\t'}"; done
if [[ ! -d /sys/firmware/efi ]]; then
    echo "Note: this machine was started by BIOS, and the installed system is started by UEFI only."
fi
if [[ $dry_run == yes ]]; then
    echo "Nothing was changed."
    exit 0
fi

# Now, since after it there is no way back.
if mountpoint --quiet "$root" || [[ -n $(ls --almost-all "$root" 2>/dev/null) ]]; then
    fail 5 "$root is not empty" "umount --recursive $root, or name another directory with --root"
fi
root_password=()
if [[ -n $erase ]]; then
    [[ ${erase#/dev/} == "$name" ]] || fail 6 "--yes-erase says $erase, and the disk is $name" "nothing was changed"
    root_password=(--no-root-password)
else
    [[ -t 0 ]] || fail 6 "nobody is there to confirm it" "nothing was changed; without a terminal: --yes-erase $name"
    read -r -p "Type the name of the disk ($name) to erase it: " answer || answer=""
    [[ $answer == "$name" ]] || fail 6 "'$answer' is not $name" "nothing was changed"
fi

trap 'echo "error: the installation did not end well. What is mounted is left: umount --recursive $root, then again." >&2' ERR

# The kernel gives it to us alone, or somebody uses it in a way not seen above (a file system of several disks).
wipefs --all --quiet "$disk" || fail 5 "$name is in use" "nothing was changed"
sfdisk --quiet --lock --no-tell-kernel --wipe always --wipe-partitions always "$disk" <<PARTITIONS
label: gpt
size=${esp}iB, type=uefi, name=ESP
type=linux, name=$label
PARTITIONS
# udev has the kernel read the new table, in its own time, and there may be no udev.
udevadm settle 2>/dev/null || true
partx --update "$disk"
udevadm settle 2>/dev/null || true
[[ $disk == *[0-9] ]] && part=${disk}p || part=$disk

mkfs.vfat -F 32 -n ESP "${part}1" >/dev/null
mkfs.btrfs --quiet --force --label "$label" "${part}2"
mkdir --parents "$root"
mount "${part}2" "$root"
for line in "${subvolumes[@]}"; do btrfs --quiet subvolume create "$root/${line%$'\t'*}"; done
umount "$root"
for line in "${subvolumes[@]}"; do
    mkdir --parents "$root${line#*$'\t'}"
    mount --options "subvol=${line%$'\t'*},$options" "${part}2" "$root${line#*$'\t'}"
done
mkdir --parents "$root/boot" "$root/etc/nixos"
# Kernels and their secrets are root's.
mount --options umask=0077 "${part}1" "$root/boot"

cp --recursive --dereference --no-preserve=ownership "$OPDBUS_FILES/." "$root/etc/nixos"
chmod --recursive u+w "$root/etc/nixos"
# It leaves a configuration.nix that is there.
nixos-generate-config --root "$root"
nixos-install --root "$root" "${root_password[@]}"
sync

trap - ERR
echo "NixOS is installed on $name. Its configuration is in /etc/nixos."
if ((${#root_password[@]})); then
    echo "Nobody can log in yet, unless its configuration says so: nixos-enter --root $root -c 'passwd'"
fi
echo "Then: umount --recursive $root && reboot"
