# shellcheck shell=bash
# lab: none
# The lab itself: what it starts it ends, whatever happened to it in between.

NAME=lab-itself
up() { "$REPO/lab/up" --yes --no-install --name "$NAME"; }
down() { "$REPO/lab/down" --name "$NAME"; }
run() { "$REPO/lab/run" --name "$NAME" "$@"; }
ELSEWHERE=""
teardown() {
    down >/dev/null 2>&1 || true
    if [[ -n $ELSEWHERE ]]; then
        "$REPO/lab/down" --name "$NAME" --dir "$ELSEWHERE" --purge >/dev/null 2>&1 || true
        rm -rf --one-file-system "$ELSEWHERE"
    fi
}

# lab/down leaves no process, mount, loop device, namespace, port or changed device mode, not
# even of what was started in the lab and left there.
test_down_leaves_nothing_of_a_lab_that_left_things_about() {
    local before
    before=$(machine_state)
    up
    equal running "$(run systemctl is-system-running)"
    # shellcheck disable=SC2016 # the lab's shell
    run bash -c '
        set -e
        truncate -s 300M /var/attached.img /var/mounted.img
        losetup --find /var/attached.img
        mkfs.btrfs --quiet /var/mounted.img
        mkdir /mnt/image && mount -o loop /var/mounted.img /mnt/image
        btrfs subvolume create /mnt/image/sub && truncate -s 1M /mnt/image/sub/inner.img && losetup --find /mnt/image/sub/inner.img
        ip netns add left && ip link add left0 type veth peer name left1
        ovs-vsctl add-br left-br -- set bridge left-br datapath_type=netdev
        setsid nohup sleep 1000 >/dev/null 2>&1 &
        disown'
    contains "$(losetup --all)" /var/attached.img "the test would see it"
    down
    nothing_new "$before"
}

# Killed at any instant, lab/down (or the next lab/up) puts it right.
test_a_killed_up_is_taken_down() {
    local before delay pid
    before=$(machine_state)
    for delay in 0.2 0.5 0.9 1.2 1.5 1.9; do
        setsid "$REPO/lab/up" --yes --no-install --name "$NAME" >/dev/null 2>&1 &
        pid=$!
        sleep "$delay"
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
        down
        nothing_new "$before"
    done
    # And without a lab/down in between.
    setsid "$REPO/lab/up" --yes --no-install --name "$NAME" >/dev/null 2>&1 &
    pid=$!
    sleep 1.2
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    up
    equal running "$(run systemctl is-system-running)"
    down
    nothing_new "$before"
}

test_a_tree_whose_making_was_interrupted_never_counts() {
    local before dir pid
    before=$(machine_state)
    ELSEWHERE=$(mktemp -d)
    dir=$ELSEWHERE
    setsid "$REPO/lab/up" --yes --no-install --name "$NAME" --dir "$dir" >/dev/null 2>&1 &
    pid=$!
    until_true 60 pgrep --full "$dir/cache/making-" >/dev/null
    sleep 2
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
    equal "" "$(find "$dir/cache" -maxdepth 1 -type f -name '*.tar*' ! -name '*.log')" "half a tree has a whole one's name"
    "$REPO/lab/down" --name "$NAME" --dir "$dir" --purge
    [[ ! -e $dir ]] || die "--purge left $(find "$dir")"
    nothing_new "$before"
}

test_down_twice_and_status_of_no_lab() {
    local status=0
    down
    down
    "$REPO/lab/status" --name "$NAME" || status=$?
    equal 3 "$status" "lab/status of a lab that is not up"
    status=0
    run true || status=$?
    equal 7 "$status" "lab/run without a lab"
}

test_up_of_a_lab_that_is_up_says_so() {
    up
    contains "$(up)" "up already"
    "$REPO/lab/status" --name "$NAME"
}

test_run_hands_over_arguments_input_and_exit_status() {
    local status=0
    up
    run sh -c 'exit 42' || status=$?
    equal 42 "$status"
    equal "a  b|*|\$HOME|" "$(run printf '%s|' 'a  b' '*' "\$HOME")"
    equal "one two" "$(echo "one two" | run cat)"
    equal "/root root lab" "$(run sh -c 'echo $HOME $(id -un) $(hostname)')"
    equal "" "$(SECRET=x run printenv SECRET || true)"
    # With a terminal.
    contains "$(script --quiet --return --command "$REPO/lab/run --name $NAME sh -c 'test -t 0 && echo terminal; exit 5'" /dev/null || echo "status $?")" "terminal"
}

test_two_labs_do_not_meet() {
    local before
    before=$(machine_state)
    up
    "$REPO/lab/up" --yes --no-install --name "$NAME-two"
    run touch /in-one
    equal no "$("$REPO/lab/run" --name "$NAME-two" sh -c 'test -e /in-one && echo yes || echo no')"
    down
    equal running "$("$REPO/lab/run" --name "$NAME-two" systemctl is-system-running)" "the other lab after this one's end"
    "$REPO/lab/down" --name "$NAME-two"
    nothing_new "$before"
}

test_without_rust_it_says_what_it_would_install() {
    local status=0 out
    if [[ -x /usr/bin/cargo ]]; then skip "Debian's own cargo is here"; fi
    out=$(env --ignore-environment HOME=/nonexistent PATH=/usr/sbin:/usr/bin:/sbin:/bin LAB_DIR="$LAB_DIR" \
        "$REPO/lab/up" --name "$NAME" 2>&1 </dev/null) || status=$?
    equal 7 "$status"
    contains "$out" "rustup"
    contains "$out" "$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$REPO/Cargo.toml")"
    contains "$out" "--yes"
}

test_wrong_options_are_refused_and_nothing_is_made() {
    local program
    for program in up down status run; do
        equal 2 "$(refused "$REPO/lab/$program" --nonsense)"
        equal 2 "$(refused "$REPO/lab/$program" --name ../x)"
        "$REPO/lab/$program" --help | grep --quiet "Usage: lab/$program"
    done
}
