# shellcheck shell=bash
# lab: none
# The virtual machine itself: what it starts it ends, and its power can be taken away.

NAME=vm-itself
export LAB_NAME=$NAME
up() { "$REPO/lab/up" --yes --vm --no-install; }
down() { "$REPO/lab/down"; }
power() { "$REPO/lab/power" "$@"; }
teardown() { down >/dev/null 2>&1 || true; }

# Also when its lab/up was killed, at any instant, or when it is switched off.
test_down_leaves_nothing_of_a_virtual_machine() {
    local before delay pid
    before=$(machine_state)
    up
    equal running "$(lab systemctl is-system-running)"
    contains "$(machine_state)" "process of the lab" "the test would see it"
    down
    nothing_new "$before"
    for delay in 1.5 4 8; do
        setsid "$REPO/lab/up" --yes --vm --no-install >/dev/null 2>&1 &
        pid=$!
        sleep "$delay"
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
        down
        nothing_new "$before"
        [[ ! -e $LAB_DIR/$LAB_NAME ]] || die "left: $(ls "$LAB_DIR/$LAB_NAME")"
    done
}

# On the way: lab/run hands over arguments, input and exit status; switched off, that is said.
test_a_cut_loses_what_was_not_flushed_and_keeps_what_was() {
    local status=0 file kept=0
    up
    lab sh -c 'exit 42' || status=$?
    equal 42 "$status"
    equal "a  b|*|\$HOME|" "$(lab printf '%s|' 'a  b' '*' "\$HOME")"
    equal "one two" "$(echo "one two" | lab cat)"
    # shellcheck disable=SC2016 # the lab's shell
    equal "/root root lab" "$(lab sh -c 'echo $HOME $(id -un) $(hostname)')"
    equal "" "$(SECRET=x lab printenv SECRET || true)"
    for file in /root /var/lib/op-dbus; do
        lab sh -c "echo kept >$file/flushed && sync $file/flushed && sync $file && echo lost >$file/unflushed"
    done
    # And what the disk itself had, written past the caches of the machine, and in place: some of it, not all.
    lab sh -ec 'cd /var/lib/op-dbus && touch blocks && chattr +C blocks &&
        dd if=/dev/zero of=blocks bs=4096 count=400 conv=fsync && yes x | tr -d "\n" |
        dd of=blocks bs=4096 count=400 iflag=fullblock oflag=direct conv=notrunc' 2>/dev/null
    power cut
    status=0
    lab true || status=$?
    equal 7 "$status" "lab/run without power"
    power on
    for file in /root /var/lib/op-dbus; do
        equal kept "$(lab cat "$file/flushed")"
        equal "" "$(lab cat "$file/unflushed" 2>/dev/null || true)" "not flushed, and still there"
    done
    kept=$(lab sh -c 'tr -dc x </var/lib/op-dbus/blocks | wc -c')
    show "of 400 blocks that were written and not flushed, $((kept / 4096)) were kept"
    ((kept > 0 && kept < 400 * 4096)) || die "a disk keeps some of what was not flushed, not all or nothing"
    # Switched off in good order, nothing is lost.
    lab sh -c 'echo mine >/root/unflushed'
    power off
    equal 3 "$("$REPO/lab/status" >/dev/null && echo 0 || echo $?)" "lab/status without power"
    equal 5 "$(refused up)" "lab/up of a machine that is switched off"
    power on
    equal mine "$(lab cat /root/unflushed)"
    equal running "$(lab systemctl is-system-running)"
}

test_wrong_calls_of_the_power_switch_are_refused() {
    equal 2 "$(refused power --nonsense)"
    equal 2 "$(refused power)"
    down
    equal 4 "$(refused power cut)"
    equal 2 "$(refused "$REPO/lab/up" --vm --suite sid)"
    equal 2 "$(refused "$REPO/lab/up" --suite trixie)"
    power --help | grep --quiet "Usage: lab/power"
}
