# shellcheck shell=bash
# lab: vm bookworm
# What only a kernel of one's own can show.
# shellcheck source=tests/vm/checks.sh
source "$REPO/tests/vm/checks.sh"
# shellcheck source=tests/lab/escape.sh
source "$REPO/tests/lab/escape.sh"

teardown() {
    forget vm-no vm-yes vm-lim vm-auto vm-manual clock-1 clock-2 remount-1 remount-2
    clear_the_stage
}

test_the_datapath_is_the_kernel_s() { check_datapath; }

test_containers_reach_what_they_were_granted_and_nothing_else() { check_reach; }

test_tcp_flows_through_the_kernel_s_datapath() {
    local speed
    inside web-02 sh -c 'head -c 100M /dev/zero >/var/www/html/big'
    speed=$(inside web-01 curl --silent --show-error --output /dev/null --max-time 120 --write-out '%{size_download} %{speed_download}' "http://$(address_of web-02)/big")
    inside web-02 rm /var/www/html/big
    show "from container to container: $((${speed#* } / 125000)) Mbit/s"
    equal 104857600 "${speed% *}" "bytes that came"
    ((${speed#* } > 1000000)) || die "no more than ${speed#* } bytes a second: TCP stalls"
}

our_flows() { lab ovs-ofctl -O OpenFlow14 --no-stats --no-names dump-flows ovsbr0 cookie=0x6f70646200000000/0xffffffff00000000 | grep cookie | sort; }
our_flows_are() { [[ $(our_flows) == "$1" ]]; }

test_flows_are_back_after_a_restart_of_open_vswitch() {
    local ours seconds
    ours=$(our_flows)
    [[ -n $ours ]] || die "there are no flows of ours"
    lab systemctl restart openvswitch-switch
    seconds=$(until_true 30 our_flows_are "$ours")
    show "our flows were back $seconds s after systemctl restart openvswitch-switch"
    until_true 30 inside web-01 curl --silent --max-time 5 "http://$(address_of web-02)/" >/dev/null
    check_datapath
    plan_is_empty
}

test_a_container_is_confined_by_apparmor_and_its_systemd_runs() { check_apparmor web-01; }

test_limits_hold() { check_limits; }

test_every_unit_is_active_and_as_confined_as_it_was() { check_units; }

# With AppArmor and the kernel's own datapath; the lab tries the same without.
test_root_of_a_container_gets_nothing_of_the_host_or_of_another() { check_escapes; }

test_a_clock_that_is_stepped_back_stops_nothing_and_is_said() {
    local before
    opdbus container create clock-1 --no-start >/dev/null
    before=$(opdbus ledger verify --json | jq .entries)
    lab date --set='-2 hours' >/dev/null
    opdbus container create clock-2 --no-start >/dev/null
    opdbus container delete clock-1 --yes >/dev/null
    contains "$(opdbus container list)" clock-2
    contains "$(opdbus ledger verify)" "the clock went back"
    (($(opdbus ledger verify --json | jq .entries) > before)) || die "nothing is recorded any more"
    opdbus snapshot create clock-2 >/dev/null
    plan_is_empty
    lab date --set='+2 hours' >/dev/null
    opdbus container delete clock-2 --yes >/dev/null
    opdbus ledger verify >/dev/null
    plan_is_empty
}

# What the kernel does not let happen while anything there is open for writing.
test_a_file_system_that_is_remounted_read_only_is_said_and_nothing_is_lost() {
    local entries head
    opdbus container create remount-1 --no-start >/dev/null
    entries=$(opdbus ledger verify --json | jq .entries)
    head=$(opdbus ledger show --json --limit 1 | jq --raw-output '.[0].current_hash')
    lab sh -ec '
        systemctl stop opdbus.service opdbus-containers.service "opdbus-container@*.service" 2>/dev/null
        mount --options remount,ro /var/lib/op-dbus
        systemctl start opdbus.service'
    # What only looks is answered.
    contains "$(opdbus container list)" remount-1
    contains "$(opdbus ledger show --operation container.create --limit 1)" remount-1
    refused opdbus container create remount-2 --no-start >/dev/null
    contains "$(cat "$OUT")" "ead-only file system" "a creation"
    refused opdbus container delete remount-1 --yes >/dev/null
    contains "$(cat "$OUT")" "ead-only file system" "a deletion"
    refused lab opdbus-snapshot create >/dev/null
    contains "$(cat "$OUT")" "ead-only file system" "a snapshot without the daemon"
    refused opdbus doctor >/dev/null
    contains "$(cat "$OUT")" "PROBLEM  disk-space"
    contains "$(cat "$OUT")" "systemctl restart opdbus.service"
    # What was started meanwhile has the mount as it was then, in a namespace of its own.
    lab sh -ec 'mount --options remount,rw /var/lib/op-dbus && systemctl restart opdbus.service'
    opdbus container show remount-1 >/dev/null
    refused opdbus container show remount-2 >/dev/null
    opdbus container delete remount-1 --yes >/dev/null
    opdbus container create remount-2 --no-start >/dev/null
    opdbus container delete remount-2 --yes >/dev/null
    lab systemctl start opdbus-containers.service
    until_true 120 containers_run >/dev/null
    (($(opdbus ledger verify --json | jq .entries) > entries)) || die "entries are lost"
    contains "$(opdbus ledger show --json --limit 0 | jq --raw-output '.[].current_hash')" "$head" "the last entry of before"
    nothing_half_made
    plan_is_empty
    until_true 60 opdbus doctor >/dev/null
}

# For the mesh.
test_the_kernel_makes_wireguard_interfaces() {
    lab sh -ec '
        ip link add vm-wg type wireguard
        trap "ip link delete vm-wg" EXIT
        ip link show vm-wg | grep -q vm-wg
        ip -details link show vm-wg | grep -q wireguard'
    contains "$(lab cat /proc/modules)" "wireguard "
}

# As on a Debian that was installed without its recommendations: it has AppArmor in its kernel, and no parser, without
# which LXC starts nothing.
test_the_installer_fetches_the_packages_that_are_missing() {
    lab timeout 120 apt-get update --quiet=2 >"$OUT" 2>&1 || skip "the mirror cannot be reached from the virtual machine"
    lab dpkg --purge --force-depends apparmor ethtool >/dev/null 2>&1
    contains "$(lab /opt/operation-dbus/install-opdbus.sh --plan --bin-dir /opt/programs)" "would install the packages: ethtool apparmor"
    installer >"$OUT" 2>&1 || die "$(tail -n 20 "$OUT")"
    contains "$(cat "$OUT")" "Installing the packages: ethtool apparmor"
    lab test -x /sbin/apparmor_parser
    opdbus container stop web-01
    opdbus container start web-01
    check_apparmor web-01
    plan_is_empty
}

test_after_a_reboot_everything_is_back() { check_reboot; }
