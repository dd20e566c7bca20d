# shellcheck shell=bash
# The lab as a virtual machine: how it is started and entered, and how it loses its power. Sourced by lab/lib.sh.
#
# LAB/vm has its disks, its kernel and its keys. What it runs is in groups of the lab's control group: machine (QEMU),
# disks (lab/vm-disk, one for each disk whose power can be cut), shells (ssh).

is_vm() { [[ -d $LAB/vm ]]; }

# The process that is the machine, if it is switched on.
vm_pid() {
    local pid
    read -r pid 2>/dev/null <"$CGROUP/machine/cgroup.procs" && echo "$pid"
}

# vm_in GROUP COMMAND…: becomes a command in that group, in the directory LAB/vm: what its sockets are called may then
# be as short as the kernel wants it.
vm_in() {
    mkdir -p "$CGROUP/$1"
    echo "$BASHPID" >"$CGROUP/$1/cgroup.procs"
    cd "$LAB/vm" || exit
    exec "${@:2}" 9>&-
}

vm_kill() {
    local group=$CGROUP/$1 try pid
    for ((try = 0; try < 100; try++)); do
        grep --quiet 'populated 1' "$group/cgroup.events" 2>/dev/null || return 0
        if [[ -w $group/cgroup.kill ]]; then
            echo 1 >"$group/cgroup.kill"
        else # kernels before 5.14
            while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done <"$group/cgroup.procs"
        fi
        sleep 0.05
    done
    fail 1 "what is in $group cannot be ended"
}

# vm_program NAME: the argument vector, one a line, by which a program of QEMU's is called: that of this machine, or the one
# that lab/up unpacked aside, with its own libraries.
vm_program() {
    local tree lib
    tree=$(cat "$LAB/vm/qemu")
    if [[ $tree == system ]]; then
        echo "$1"
        return 0
    fi
    lib=$tree/usr/lib/$(uname -m)-linux-gnu
    printf '%s\n' env QEMU_MODULE_DIR="$lib/qemu" "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$tree/usr/bin/$1"
    if [[ $1 == qemu-system-* ]]; then printf '%s\n' -L "$tree/usr/share/qemu" -L "$tree/usr/share/seabios"; fi
}

# Whether KVM boots this kernel: that its device is there does not say so. Asked once for each boot of this machine.
vm_accelerator() {
    local known
    known=$CACHE/kvm-$(cut -c1-8 /proc/sys/kernel/random/boot_id)-$(sha256sum "$LAB/vm/vmlinuz" | cut -c1-8)
    local -a qemu
    mapfile -t qemu < <(vm_program qemu-system-x86_64)
    if [[ ! -e $known ]]; then
        # It has no root file system, and says so when it has come that far.
        if [[ -w /dev/kvm ]] && (vm_in work timeout --kill-after=1 12 "${qemu[@]}" -accel kvm -cpu host -m 512 -nodefaults \
            -display none -serial stdio -no-reboot -kernel vmlinuz -append 'console=ttyS0 panic=-1' </dev/null 2>&1) |
            grep --quiet --text 'VFS: Unable to mount root'; then
            echo kvm >"$known"
        else
            echo tcg >"$known"
        fi
    fi
    cat "$known"
}

# Switches it on. A disk that has kept its power is taken as it is.
# shellcheck disable=SC2054 # QEMU's own commas
vm_start() {
    local disk try accelerator
    local -a qemu call
    mapfile -t qemu < <(vm_program qemu-system-x86_64)
    accelerator=$(vm_accelerator)
    case $accelerator in
        kvm) call=(-accel kvm -cpu host) ;;
        *) call=(-accel "tcg,thread=multi,tb-size=512" -cpu max) ;;
    esac
    if ! grep --quiet 'populated 1' "$CGROUP/disks/cgroup.events" 2>/dev/null; then
        rm -f "$LAB"/vm/{root,data}.sock
        for disk in root data; do
            (vm_in disks setsid "$REPO/lab/vm-disk" "$disk.sock" "$disk.img" "$RANDOM" </dev/null >>"$LAB/vm/disks.log" 2>&1) &
        done
        for ((try = 0; try < 100; try++)); do
            if [[ -S $LAB/vm/root.sock && -S $LAB/vm/data.sock ]]; then break; fi
            sleep 0.05
        done
    fi
    call+=(
        -name "$CGROUP_NAME" -smp 2 -m 3072 -nodefaults -no-user-config -display none
        -chardev file,id=console,path=console.log,append=on -serial chardev:console
        -kernel vmlinuz -append "root=/dev/nvme0n1 rw console=ttyS0 quiet net.ifnames=0 panic=10"
        # The root's driver is part of the kernel, so that no initramfs is needed. The data's disk has another, as
        # disks of one are found in no order. QEMU's NVMe promises FUA and drops it (nvme_blk_write passes no flags on),
        # so that what ext4 had committed would be lost in a cut: it is made to ask for it with every write.
        -blockdev driver=nbd,node-name=root,server.type=unix,server.path=root.sock
        -device nvme,drive=root,serial=root,write-cache=off
        -blockdev driver=nbd,node-name=data,server.type=unix,server.path=data.sock -device virtio-blk-pci,drive=data,serial=data
        -blockdev driver=raw,node-name=opt,file.driver=file,file.filename=opt.img -device virtio-blk-pci,drive=opt,serial=opt
        -device virtio-rng-pci
        # A port that is free, on this machine's loopback alone.
        -netdev "user,id=net,hostfwd=tcp:127.0.0.1:0-:22" -device virtio-net-pci,netdev=net,romfile=
    )
    (vm_in machine setsid "${qemu[@]}" "${call[@]}" </dev/null >>"$LAB/vm/qemu.log" 2>&1) &
    disown -a
    for ((try = 0; try < 100; try++)); do
        if vm_pid >/dev/null; then return 0; fi
        sleep 0.05
    done
    fail 1 "QEMU did not start: $(tail -n3 "$LAB/vm/qemu.log")"
}

# The port of this machine behind which the lab's ssh listens.
vm_port() {
    ss --no-header --listening --tcp --numeric --processes | grep --word-regexp "pid=$1" |
        sed -n 's/.* 127\.0\.0\.1:\([0-9]*\) .*/\1/p;q'
}

# Becomes a command in the machine. One connection is kept, for all of them.
vm_shell() {
    local pid port command
    local -a call
    pid=$(vm_pid) || fail 7 "the lab '$LAB_NAME' is switched off" "lab/power on"
    port=$(cat "$LAB/vm/port-$pid" 2>/dev/null) || {
        port=$(vm_port "$pid")
        if [[ -n $port ]]; then echo "$port" >"$LAB/vm/port-$pid"; fi
    }
    printf -v command '%q ' "$@"
    call=(
        ssh -F /dev/null -p "${port:-0}" -i key -o IdentitiesOnly=yes -o UserKnownHostsFile=known_hosts -o HostKeyAlias=lab
        -o ControlMaster=auto -o ControlPath=shell -o ControlPersist=yes -o ConnectTimeout=10 -o ServerAliveInterval=10
        -o LogLevel=ERROR
    )
    if [[ -t 0 && -t 1 ]]; then call+=(-t); else call+=(-T); fi
    vm_in shells "${call[@]}" root@127.0.0.1 "exec $command"
}

# vm_running SECONDS: waits until it has booted.
vm_running() {
    local limit=$((SECONDS + $1)) state=""
    while ((SECONDS < limit)); do
        vm_pid >/dev/null || break
        state=$(timeout 30 "$REPO/lab/run" --name "$LAB_NAME" --dir "$LAB_DIR" systemctl is-system-running 2>/dev/null </dev/null || true)
        case $state in
            running) return 0 ;;
            degraded)
                in_lab systemctl --failed --no-pager --no-legend --plain >&2 </dev/null || true
                fail 1 "the lab booted, and the units above failed" "lab/run journalctl -b shows why"
                ;;
        esac
        sleep 0.3
    done
    tail -n 20 "$LAB/vm/console.log" "$LAB/vm/qemu.log" >&2 || true
    fail 1 "the lab did not boot (systemd: ${state:-no answer})" "$LAB/vm/console.log has its console"
}

# vm_off SECONDS: asks it to shut down.
vm_off() {
    local limit=$((SECONDS + $1))
    in_lab systemctl poweroff </dev/null >/dev/null 2>&1 || true
    while vm_pid >/dev/null; do
        ((SECONDS < limit)) || fail 1 "the lab does not shut down" "lab/power cut ends it"
        sleep 0.2
    done
    vm_kill shells
    # What it did not flush when it shut down is lost, as it would be.
    vm_kill disks
}

# Takes its power away, and that of its disks.
vm_cut() {
    vm_kill machine
    vm_kill disks
    vm_kill shells
}
