# shellcheck shell=bash
# lab: vm trixie
# The same on Debian 13: its kernel, systemd, LXC and Open vSwitch, and its containers.
# shellcheck source=tests/vm/checks.sh
source "$REPO/tests/vm/checks.sh"

teardown() { forget vm-no vm-yes vm-lim vm-auto vm-manual; }

test_debian_13_the_containers_run_and_are_of_debian_13() {
    contains "$(lab cat /etc/os-release)" trixie
    contains "$(inside web-01 cat /etc/os-release)" trixie
    check_everything_runs
    installer >"$OUT"
    contains "$(cat "$OUT")" "Nothing to change"
}

test_debian_13_the_datapath_is_the_kernel_s() { check_datapath; }

test_debian_13_containers_reach_what_they_were_granted_and_nothing_else() { check_reach; }

test_debian_13_a_container_is_confined_by_apparmor_and_its_systemd_runs() { check_apparmor web-01; }

test_debian_13_limits_hold() { check_limits; }

test_debian_13_every_unit_is_active_and_as_confined_as_it_was() { check_units; }

test_debian_13_after_a_reboot_everything_is_back() { check_reboot; }
