# shellcheck shell=bash disable=SC2016 # variables of the lab's own shells
# lab: installed
# Root of a container gets nothing of the host or of another container that it was not granted.
# shellcheck source=tests/lab/escape.sh
source "$REPO/tests/lab/escape.sh"

teardown() { clear_the_stage; }

test_root_of_a_container_gets_nothing_of_the_host_or_of_another() {
    until_true 60 containers_run >/dev/null
    check_escapes
}
