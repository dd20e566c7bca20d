# shellcheck shell=bash disable=SC2034,SC2154
# What the virtual machine is made of: QEMU, a Debian with a kernel, and its disks. This whole file is the cache's key,
# so a change here makes the Debian anew. Sourced by lab/up, after lab/recipe.sh.

# Beside what the lab's own tree has (lab/recipe.sh): a kernel, a way in, AppArmor.
VM_PACKAGES=("${HOST_PACKAGES[@]}" linux-image-cloud-amd64 openssh-server apparmor)

# Executes several times as fast as the one of Debian 12.
QEMU_SUITE=trixie
QEMU_PACKAGES=(qemu-system-x86 qemu-utils)

vm_key() {
    { cat "${BASH_SOURCE[0]}" "$REPO/lab/recipe.sh" && dpkg --print-architecture; } | sha256sum | cut -c1-12
}

vm_able() {
    [[ $(uname -m) == x86_64 ]] || fail 7 "lab/up --vm knows x86-64 only" "lab/up without --vm makes a lab by systemd-nspawn"
    [[ -d ${CGROUP%/*} && $(stat --file-system --format=%T "${CGROUP%/*}") == cgroup2fs ]] ||
        fail 7 "control groups version 2 are not mounted on this machine" "mount -t cgroup2 none /sys/fs/cgroup/unified"
    (($(df --output=avail --block-size=1M "$LAB_DIR" | tail -n1) > 8192)) ||
        fail 7 "$LAB_DIR has less than 8 GiB free" "free some, or name another place with --dir"
}

# Where QEMU is: "system", or a directory of the cache. That of Debian 12 is too slow for an emulated machine, and
# packages of another suite are not mixed into this machine: they are unpacked aside.
vm_qemu() {
    local version mirror tree=$CACHE/qemu-$QEMU_SUITE
    local -a call
    version=$(qemu-system-x86_64 --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9]*\).*/\1/p')
    if ((${version:-0} >= 10)); then
        echo system
        return 0
    fi
    if [[ ! -d $tree ]]; then
        rm -rf --one-file-system "${CACHE:?}/making-qemu"
        mkdir -p "$CACHE/making-qemu"
        mirror=$(host_mirror)
        call=(
            mmdebstrap --mode=root --variant=extract --quiet --include="$(IFS=, && echo "${QEMU_PACKAGES[*]}")"
            --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"'
            "$QEMU_SUITE" "$CACHE/making-qemu/tree"
        )
        if [[ -n $mirror ]]; then call+=("$mirror"); fi
        (
            echo "$BASHPID" >"$CGROUP/work/cgroup.procs"
            TMPDIR=$CACHE/making-qemu exec unshare --mount --propagation private -- "${call[@]}" >"$CACHE/qemu.log" 2>&1 9>&-
        ) || fail 1 "QEMU could not be unpacked: $(tail -n3 "$CACHE/qemu.log")" "$CACHE/qemu.log has it all"
        mv --no-target-directory "$CACHE/making-qemu/tree" "$tree"
        rm -rf --one-file-system "$CACHE/making-qemu"
    fi
    echo "$tree"
}

# The image of the root and its kernel, from the tarball: vm_image TARBALL DIRECTORY
vm_image() {
    local tarball=$1 to=$2 making=$CACHE/making-image
    if [[ -d $to ]]; then return 0; fi
    rm -rf --one-file-system "$making"
    mkdir -p "$making/tree" "$making/image"
    (
        echo "$BASHPID" >"$CGROUP/work/cgroup.procs"
        fill_root "$making/tree" "$tarball"
        vm_fill "$making/tree"
        cp "$making"/tree/boot/vmlinuz-* "$making/image/vmlinuz"
        truncate --size=6G "$making/image/root.img"
        mke2fs -q -t ext4 -L lab-root -d "$making/tree" "$making/image/root.img"
    ) 9>&- || fail 1 "the image of the lab's root could not be made"
    mv --no-target-directory "$making/image" "$to"
    rm -rf --one-file-system "$making"
}

# What a tree needs to be a machine's.
vm_fill() {
    local tree=$1 unit
    rm -f "$tree"/etc/ssh/ssh_host_*
    cat >"$tree/etc/fstab" <<'FSTAB'
LABEL=lab-opt  /opt             ext4  noatime 0 0
LABEL=lab-data /var/lib/op-dbus btrfs noatime 0 0
FSTAB
    mkdir -p "$tree/var/lib/op-dbus" "$tree/var/log/journal" "$tree/etc/systemd/network" "$tree/etc/ssh/sshd_config.d" \
        "$tree/etc/systemd/system/multi-user.target.wants" "$tree/etc/systemd/system/network-online.target.wants"
    # QEMU's user-mode network.
    cat >"$tree/etc/systemd/network/10-lab.network" <<'NETWORK'
[Match]
Driver=virtio_net
[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
IPv6AcceptRA=no
LinkLocalAddressing=no
NETWORK
    rm -f "$tree/etc/resolv.conf"
    echo 'nameserver 10.0.2.3' >"$tree/etc/resolv.conf"
    ln -sf /lib/systemd/system/systemd-networkd.service "$tree/etc/systemd/system/multi-user.target.wants/"
    ln -sf /lib/systemd/system/systemd-networkd-wait-online.service "$tree/etc/systemd/system/network-online.target.wants/"
    # The keys are the lab's, not the image's.
    cat >"$tree/etc/ssh/sshd_config.d/lab.conf" <<'SSHD'
HostKey /opt/lab/ssh/host
AuthorizedKeysFile /opt/lab/ssh/authorized
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxSessions 200
SSHD
    for unit in getty@tty1.service serial-getty@ttyS0.service ssh.socket systemd-timesyncd.service; do
        ln -sf /dev/null "$tree/etc/systemd/system/$unit"
    done
}

# The disks of this lab: its root, an empty btrfs for what operation-dbus keeps, and what is put into it.
vm_disks() {
    local vm=$LAB/vm.making
    rm -rf "$vm"
    mkdir -p "$vm/opt/programs" "$vm/opt/lab/ssh" "$vm/opt/operation-dbus"
    cp --sparse=always "$1/root.img" "$1/vmlinuz" "$vm"
    truncate --size=16G "$vm/data.img"
    mkfs.btrfs --quiet --label lab-data "$vm/data.img" >"$LAB/mkfs.log" 2>&1 || fail 1 "cannot make a btrfs: $(tail -n3 "$LAB/mkfs.log")"
    ssh-keygen -q -t ed25519 -N '' -C lab -f "$vm/key"
    ssh-keygen -q -t ed25519 -N '' -C lab -f "$vm/opt/lab/ssh/host"
    cp "$vm/key.pub" "$vm/opt/lab/ssh/authorized"
    echo "lab $(cut -d' ' -f1,2 "$vm/opt/lab/ssh/host.pub")" >"$vm/known_hosts"
    cp "$CACHE/$guest_tree" "$vm/opt/lab/guest.tar.zst"
    repository | tar --extract --directory "$vm/opt/operation-dbus"
    truncate --size=1G "$vm/opt.img"
    mke2fs -q -t ext4 -L lab-opt -E root_owner=0:0 -d "$vm/opt" "$vm/opt.img"
    rm -rf "$vm/opt"
    echo "$suite" >"$vm/suite"
    echo "$qemu_at" >"$vm/qemu"
    mv --no-target-directory "$vm" "$LAB/vm"
}

# The files of the repository, without what is built and kept in it.
repository() { tar --create --directory "$REPO" --owner=0 --group=0 --exclude=./.git --exclude=./target --exclude=./.lab .; }
