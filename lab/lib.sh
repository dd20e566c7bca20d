# shellcheck shell=bash
# What lab/up, lab/run, lab/status and lab/down share. Sourced, never run.
#
# A lab is a directory LAB_DIR/NAME and a control group of its own; what it runs is a container of nspawn's, or a
# virtual machine (lab/vm.sh). Everything else is found from these
# two, not from a process id that was written down once: so a lab whose `up` was killed at any instant
# is taken down like any other.

set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LAB_DIR=${LAB_DIR:-$REPO/.lab}
LAB_NAME=${LAB_NAME:-main}
# shellcheck source=lab/vm.sh
source "$REPO/lab/vm.sh"

note() { printf '%s\n' "$*"; }

# fail STATUS MESSAGE [NEXT]: says what failed and what to do next, and ends. The exit statuses are those of op-dbus.
fail() {
    printf 'error: %s\n' "$2" >&2
    if [[ -n ${3:-} ]]; then printf '  next: %s\n' "$3" >&2; fi
    exit "$1"
}

# The value of an option that needs one: option_value OPTION ARGUMENTS-LEFT VALUE
option_value() {
    if (($2 < 2)) || [[ -z $3 ]]; then fail 2 "$1 needs a value"; fi
    printf '%s' "$3"
}

# Settles every path of the lab, once --name and --dir are known.
lab_paths() {
    [[ $LAB_NAME =~ ^[a-z][a-z0-9-]{0,20}$ && $LAB_NAME != cache ]] ||
        fail 2 "'$LAB_NAME' is not the name of a lab" "a-z, 0-9 and '-', beginning with a letter, 21 at most; 'cache' is taken"
    LAB_DIR=$(realpath -m "$LAB_DIR")
    # shellcheck disable=SC2034 # used by who sources this
    CACHE=$LAB_DIR/cache
    LAB=$LAB_DIR/$LAB_NAME
    DISK=$LAB/disk.img # a btrfs, thrown away with the lab; it is mounted in the lab's mount namespace alone
    # Labs of two checkouts may have one name.
    CGROUP_NAME=opdbus-lab-$LAB_NAME-$(sha256sum <<<"$LAB_DIR" | cut -c1-6)
    local unified
    unified=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    CGROUP=${unified:-/sys/fs/cgroup}/$CGROUP_NAME
}

need_root() {
    if ((EUID != 0)); then fail 6 "only root can do this: it mounts, makes loop devices and starts an init" "sudo $0"; fi
}

# One up or down of a lab at a time. What they start must not keep the lock: give it 9>&-.
take_lock() {
    mkdir -p "$LAB_DIR"
    exec 9>"$LAB_DIR/$LAB_NAME.lock"
    flock --wait "${1:-0}" 9 || fail 8 "another lab/up or lab/down of the lab '$LAB_NAME' is at work" "wait for it, or end it"
}

# The process that is the lab's init (of a virtual machine: QEMU), if there is one.
lab_leader() {
    local pid
    if is_vm; then
        vm_pid
        return
    fi
    while read -r pid; do
        # Process 1 of the innermost of its process-id namespaces, of which it has two.
        if [[ $(awk '$1 == "NSpid:" { print NF - 1, $NF }' "/proc/$pid/status" 2>/dev/null) == *" 1" ]]; then
            echo "$pid"
            return 0
        fi
    done < <(cat "$CGROUP"/boot-*/payload/init.scope/cgroup.procs 2>/dev/null)
    return 1
}

# What of the lab is done: "" (nothing, or half of it), booted, installed.
lab_state() { cat "$LAB/state" 2>/dev/null || true; }

# Runs a command in the lab, as the lab's init would: its namespaces, its control group, a clean environment.
in_lab() {
    local leader
    set -- /usr/bin/env --ignore-environment --chdir=/root HOME=/root USER=root LOGNAME=root SHELL=/bin/bash \
        LANG=C.UTF-8 TERM="${TERM:-dumb}" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
    if is_vm; then
        (vm_shell "$@")
        return
    fi
    leader=$(lab_leader) || fail 7 "the lab '$LAB_NAME' is not running" "lab/up"
    (
        # So that what the command leaves behind is the lab's, and goes with it. Only then: this shell's own
        # variables are in the way of nothing inside.
        echo "$BASHPID" >"${CGROUP%/*}$(sed -n 's/^0:://p' "/proc/$leader/cgroup")/cgroup.procs"
        exec nsenter --target "$leader" --all -- "$@" 9>&-
    )
}

# The loop devices of the lab: that of its disk, then those attached from inside to a file in it, or in an image in
# it, and left there. The path that the kernel shows for those is the one inside; it is the device
# number that tells, of which each subvolume has one of its own.
lab_loops() {
    local -a found
    local -A seen=()
    local device number next
    mapfile -t found < <(losetup --associated "$DISK" --noheadings --list --output NAME 2>/dev/null)
    for ((next = 0; next < ${#found[@]}; next++)); do
        seen[${found[next]}]=1
        while read -r device number; do
            if [[ -z ${seen[$device]:-} && " $(file_systems_on "${found[next]}") " == *" $number "* ]]; then
                seen[$device]=1
                found+=("$device")
            fi
        done < <(losetup --list --noheadings --output NAME,BACK-MAJ:MIN)
    done
    if ((${#found[@]})); then printf '%s\n' "${found[@]}"; fi
}

# The device numbers that files on a block device have, mounted for the look in a namespace of its own.
file_systems_on() {
    mkdir -p "$LAB/look"
    # shellcheck disable=SC2016 # the inner shell's
    unshare --mount --propagation private -- bash -c '
        mount "$1" "$2" 2>/dev/null || exit 0
        { echo . && btrfs subvolume list "$2" 2>/dev/null | sed "s/.* path //"; } |
            while read -r path; do stat --format=%Hd:%Ld "$2/$path"; done | tr "\n" " "' look "$1" "$LAB/look"
}

# Ends everything that the lab runs. A lab is thrown away, so nothing in it is asked to stop: what
# is done here after a crash is what is always done.
lab_kill() {
    local try pid path
    if [[ -d $CGROUP ]]; then
        for ((try = 0; try < 50; try++)); do
            if [[ -w $CGROUP/cgroup.kill ]]; then
                echo 1 >"$CGROUP/cgroup.kill"
            else # kernels before 5.14
                find "$CGROUP" -name cgroup.procs -exec cat {} + 2>/dev/null | while read -r pid; do kill -KILL "$pid" || true; done
            fi
            grep --quiet 'populated 1' "$CGROUP/cgroup.events" 2>/dev/null || break
            sleep 0.1
        done
    fi
    # nspawn makes its group in systemd's own hierarchy too, where there is one.
    find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name "$CGROUP_NAME" 2>/dev/null |
        while read -r path; do find "$path" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
}

# Detaches the loop devices. That of the disk goes by itself, a moment after the last namespace that had it mounted.
lab_detach() {
    local try device
    local -a loops
    for ((try = 0; try < 100; try++)); do
        mapfile -t loops < <(lab_loops)
        if ((${#loops[@]} == 0)); then return 0; fi
        for device in "${loops[@]:1}"; do losetup --detach "$device" 2>/dev/null || true; done
        if ((try > 20)); then losetup --detach "${loops[0]}" 2>/dev/null || true; fi
        sleep 0.1
    done
    fail 1 "${loops[*]} cannot be detached: something uses a file system on them" "losetup --list and lsof show what"
}

# The empty directories that nspawn leaves.
lab_sweep() {
    local path
    for path in /run/systemd/nspawn/{propagate,unix-export}; do
        if [[ -d $path ]]; then rm -rf --one-file-system "${path:?}/$CGROUP_NAME"; fi
        rmdir --parents --ignore-fail-on-non-empty "$path" 2>/dev/null || true
    done
}

# Leaves nothing of the lab but the caches. Right at any moment, and twice.
lab_remove() {
    lab_kill
    lab_detach
    lab_sweep
    rm -rf --one-file-system "$LAB"
}
