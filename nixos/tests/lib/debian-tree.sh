# shellcheck shell=bash
# A root file system from Debian's packages alone, as debootstrap does it, and with no network: debian_tree TREE
# LAYERS DEB… makes it in the directory TREE. Needs root, dpkg-deb, tar and chroot. Sourced.

debian_tree() {
    local tree=$1 deb directory
    shift
    # Since bookworm, these are one with those in /usr.
    for directory in bin sbin lib lib64; do
        mkdir -p "$tree/usr/$directory"
        ln -s "usr/$directory" "$tree/$directory"
    done
    mkdir "$tree/debs" "$tree/proc"
    for deb in "$@"; do
        dpkg-deb --fsys-tarfile "$deb" | tar --extract --keep-directory-symlink --directory "$tree"
        cp "$deb" "$tree/debs"
    done

    # What packages take for granted of those that are essential, and none of them is configured yet.
    cp "$tree/usr/share/base-passwd/passwd.master" "$tree/etc/passwd"
    cp "$tree/usr/share/base-passwd/group.master" "$tree/etc/group"
    ln -s mawk "$tree/usr/bin/awk"
    touch "$tree/var/lib/dpkg/status" "$tree/etc/shells"
    # Nothing is started here.
    printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
    chmod +x "$tree/usr/sbin/policy-rc.d"
    [[ -c $tree/dev/null ]] || mknod -m 666 "$tree/dev/null" c 1 3

    mount -t proc proc "$tree/proc"
    # shellcheck disable=SC2016 # the inner shell's
    chroot "$tree" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
        sh -euc 'dpkg --force-depends --unpack /debs/*.deb && dpkg --force-depends --configure --pending'
    umount "$tree/proc"

    rm -r "$tree/debs" "$tree/usr/sbin/policy-rc.d" "$tree/dev/null"
    # Each that boots it makes its own.
    : >"$tree/etc/machine-id"
}
