# shellcheck shell=bash disable=SC2016 # the virtual machine's shell
# lab: vm bookworm
# The uplink: eth0, behind which this very connection is, becomes a port of the bridge. UPLINK_KILLS and UPLINK_CUTS say
# how often it is interrupted (default 6 and 3).
# shellcheck source=tests/vm/checks.sh
source "$REPO/tests/vm/checks.sh"

uplink() { opdbus bridge uplink "$@"; }
phase() { uplink status --json | jq --raw-output '.phase // "none"'; }
phase_is() { [[ $(phase) == "$1" ]]; }

# What must be as before: files with their modes, addresses, routes, the bridge.
state() {
    lab sh -c '
        find /etc/systemd/network /etc/network /etc/netplan /etc/NetworkManager -type f 2>/dev/null | sort | while read -r file; do
            stat --format "%n %a %u %g" "$file"; sha256sum <"$file"; done
        for dev in eth0 ovsbr0; do ip -o -4 address show dev $dev | sed "s/valid_lft.*//"; done
        ip -4 route show | sort
        ovs-vsctl list-ports ovsbr0; ovs-vsctl get bridge ovsbr0 other_config
        ovs-ofctl -O OpenFlow14 --no-stats dump-flows ovsbr0 | grep -c priority=400 || true'
}
state_is() { [[ $(state) == "$1" ]]; }
nothing_left() { equal "" "$(lab sh -c 'ls /var/lib/opdbus/uplink 2>/dev/null; find /etc -name ".opdbus-*"')" "left behind"; }

# The far ends of the connections through which we are in.
connections() { lab ss --no-header --tcp --numeric state established '( sport = :22 )' | awk '{ print $4 }' | sort; }

on_bridge() {
    equal "10.0.2.15/24" "$(lab sh -c "ip -o -4 address show dev ovsbr0 | awk '{ print \$4 }'")" "the bridge's address"
    equal "" "$(lab ip -o -4 address show dev eth0)" "the card's address"
    contains "$(lab ip route show default)" "dev ovsbr0"
    equal 52:54:00:12:34:56 "$(lab cat /sys/class/net/ovsbr0/address)"
    contains "$(lab ovs-vsctl port-to-br eth0)" ovsbr0
    plan_is_empty
}

teardown() {
    "$REPO/lab/power" on >/dev/null 2>&1 || true
    lab sh -c 'if [ -e /etc/opdbus/config.away ]; then mv /etc/opdbus/config.away /etc/opdbus/config.json; fi'
    if ! phase_is none; then uplink revert >/dev/null || true; fi
    if ! lab sh -c 'systemctl is-enabled --quiet systemd-networkd && test -e /etc/systemd/network/10-lab.network'; then to_networkd; fi
}

test_what_cannot_be_an_uplink_is_refused() {
    equal 4 "$(refused uplink set nonsense)"
    equal 5 "$(refused uplink set lo)"
    equal 5 "$(refused uplink set veth-socket)"
    contains "$(cat "$OUT")" "port of the bridge ovsbr0 already"
    lab sh -ec 'ip link add vm-bond type dummy; ip link add link vm-bond name vm-vlan type vlan id 7'
    equal 5 "$(refused uplink set vm-bond)"
    lab ip link delete vm-bond
    equal 4 "$(refused uplink confirm)"
    equal 4 "$(refused uplink revert)"
    refused uplink set eth0 --within 1 >/dev/null
    # Looked at by those of the group, moved by root alone.
    lab sh -c 'id vm-member >/dev/null 2>&1 || useradd --groups opdbus vm-member'
    contains "$(lab runuser -u vm-member -- op-dbus bridge uplink status)" "no uplink"
    equal 6 "$(refused lab runuser -u vm-member -- op-dbus bridge uplink set eth0 --dry-run)"
    nothing_left
}

test_nothing_is_moved_without_what_would_move_it_back() {
    local before unit=/etc/systemd/system/opdbus-uplink-rollback.service
    before=$(state)
    lab sh -ec "mv $unit /root; systemctl daemon-reload"
    equal 7 "$(refused uplink set eth0)"
    lab sh -ec "mv /root/${unit##*/} $unit; systemctl daemon-reload"
    contains "$(cat "$OUT")" "nothing was moved"
    equal "$before" "$(state)"
    nothing_left
}

test_a_session_survives_the_move_and_after_a_reboot_the_host_is_reached_through_the_bridge() {
    local before connected ticks gap
    before=$(state) connected=$(connections)
    contains "$(uplink set eth0 --dry-run)" "05-opdbus-uplink-bridge.network"
    equal "$before" "$(state)" "after a dry run"
    ticks=$(mktemp)
    # In this connection: every tenth of a second, and how late the latest came.
    lab sh -c 'for n in $(seq 150); do cut -d" " -f1 /proc/uptime; sleep 0.1; done' >"$ticks" &
    uplink set eth0 --within 60 >/dev/null
    on_bridge
    equal "$connected" "$(connections)" "connections"
    equal applied "$(phase)"
    (($(uplink status --json | jq .secondsLeft) > 30)) || die "no time is left"
    equal 5 "$(refused uplink set eth0)"
    uplink confirm >/dev/null
    wait $!
    equal "$connected" "$(connections)" "connections"
    equal 150 "$(wc -l <"$ticks")"
    gap=$(awk 'NR > 1 && $1 - last > gap { gap = $1 - last } { last = $1 } END { print gap }' "$ticks")
    show "150 lines came through the connection during move and confirmation; the longest time between two was $gap s"
    rm "$ticks"
    # Confirmed, time does nothing; and what is there stays.
    equal confirmed "$(phase)"
    until_true 10 lab sh -c '! systemctl is-active --quiet opdbus-uplink-rollback.service' >/dev/null
    contains "$(uplink set eth0)" "is the uplink of ovsbr0"
    lab ping -c1 -W5 10.0.2.2 >/dev/null
    # Containers are on the network outside by address translation alone, as before.
    inside web-01 ping -c1 -W5 10.0.2.2 >/dev/null
    "$REPO/lab/power" reboot
    on_bridge
    until_true 120 containers_run 2 >/dev/null
    plan_is_empty
    inside web-01 ping -c1 -W5 10.0.2.2 >/dev/null
    # Also when nothing else of ours comes up, for want of a host spec.
    lab sh -ec 'mv /etc/opdbus/config.json /etc/opdbus/config.away; sync'
    "$REPO/lab/power" cut
    # A boot with units that cannot start is degraded, and reached all the same.
    "$REPO/lab/power" on >/dev/null 2>&1 || true
    equal "10.0.2.15/24" "$(lab sh -c "ip -o -4 address show dev ovsbr0 | awk '{ print \$4 }'")" "the bridge's address"
    lab sh -ec 'mv /etc/opdbus/config.away /etc/opdbus/config.json' || die "$(lab ls -l --time-style=full-iso /etc/opdbus)"
    "$REPO/lab/power" reboot
    on_bridge
    # Flows are forgotten with ovs-vswitchd, and the connection lives through it.
    connected=$(connections)
    lab systemctl restart openvswitch-switch
    until_true 30 lab ping -c1 -W2 10.0.2.2 >/dev/null
    equal "$connected" "$(connections)" "connections"
    contains "$(uplink revert --dry-run)" "has 10.0.2.15/24"
    on_bridge
    # Taken off by hand, apply puts it back. (The port's removal cuts the connection's wire until then.)
    lab sh -c 'ovs-vsctl del-port ovsbr0 eth0; op-dbus apply uplink >/dev/null'
    on_bridge
    uplink revert >/dev/null
    equal "$before" "$(state)" "after revert"
    nothing_left
    plan_is_empty
    equal 0 "$(opdbus drift >/dev/null && echo 0 || echo 1)" "drift"
}

test_without_confirmation_everything_is_back_after_the_limit_byte_for_byte() {
    local before seconds
    before=$(state)
    uplink set eth0 --within 20 >/dev/null
    on_bridge
    # Somebody edits in the meantime: that is not lost.
    lab sh -c 'echo "# mine" >>/etc/systemd/network/05-opdbus-uplink-bridge.network'
    seconds=$(until_true 60 state_is "$before")
    show "back $seconds s after it was moved, with a limit of 20 s"
    contains "$(lab cat /var/lib/opdbus/uplink/edited-05-opdbus-uplink-bridge.network)" "# mine"
    lab rm /var/lib/opdbus/uplink/edited-05-opdbus-uplink-bridge.network
    until_true 10 phase_is none >/dev/null
    equal 4 "$(refused uplink confirm)"
    nothing_left
    plan_is_empty
}

# instant NUMBER: seconds, in one of the thirds of the time that a move takes here.
instant() { awk -v n="$1" -v r="$RANDOM" 'BEGIN { printf "%.2f", (n - 1) % 3 * 0.7 + r / 32768 * 0.7 }'; }

# What is killed, and when, is random: the daemon that moves, and the unit that puts back.
test_killed_at_any_instant_it_is_back_within_the_limit() {
    local before number delay
    before=$(state)
    for ((number = 1; number <= ${UPLINK_KILLS:-6}; number++)); do
        delay=$(instant "$number")
        uplink set eth0 --within 20 >/dev/null 2>&1 &
        sleep "$delay"
        lab sh -c 'kill -KILL $(systemctl show --property MainPID --value opdbus.service)'
        if ((number % 2)); then
            lab sh -c 'pid=$(systemctl show --property MainPID --value opdbus-uplink-rollback.service); [ "$pid" = 0 ] || kill -KILL "$pid"'
        fi
        wait $! || true
        until_true 90 state_is "$before" >/dev/null
        until_true 30 phase_is none >/dev/null
        show "killed $delay s after set: as before"
        nothing_left
    done
    plan_is_empty
    equal "" "$(lab systemctl --failed --no-legend --plain)" "failed units"
}

test_after_a_power_cut_half_way_the_host_comes_back_as_before() {
    local before number delay
    before=$(state)
    for ((number = 1; number <= ${UPLINK_CUTS:-3}; number++)); do
        delay=$(instant "$number")
        uplink set eth0 --within 600 >/dev/null 2>&1 &
        sleep "$delay"
        "$REPO/lab/power" cut
        wait $! || true
        "$REPO/lab/power" on
        until_true 60 state_is "$before" >/dev/null
        show "power cut $delay s after set: as before"
        equal none "$(phase)"
        nothing_left
    done
    plan_is_empty
}

to_networkd() {
    lab sh -ec '
        systemctl disable --quiet networking.service NetworkManager.service 2>/dev/null || true
        rm -f /etc/network/interfaces /etc/NetworkManager/system-connections/* /etc/netplan/*
        cp /root/10-lab.network /etc/systemd/network/10-lab.network
        systemctl enable --quiet systemd-networkd.service systemd-networkd-wait-online.service'
    "$REPO/lab/power" reboot
}

# to_ifupdown STANZA…: eth0 by ifupdown, from the next boot.
to_ifupdown() {
    lab sh -ec 'test -e /root/10-lab.network || cp /etc/systemd/network/10-lab.network /root
        rm -f /etc/systemd/network/10-lab.network
        systemctl disable --quiet systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service
        systemctl enable --quiet networking.service
        mkdir -p /etc/network/interfaces.d
        printf "%s\n" "source /etc/network/interfaces.d/*" "" "auto lo" "iface lo inet loopback" >/etc/network/interfaces
        cat >/etc/network/interfaces.d/setup'
    "$REPO/lab/power" reboot
    equal "eth0=eth0" "$(lab sh -c 'grep eth0 /run/network/ifstate')"
}

move_and_back_by_ifupdown() {
    local before connected
    before=$(state) connected=$(connections)
    uplink set eth0 --within 60 >/dev/null
    on_bridge
    equal "$connected" "$(connections)" "connections"
    contains "$(lab cat /etc/network/interfaces.d/setup)" "iface ovsbr0 inet $1"
    uplink revert >/dev/null
    equal "$before" "$(state)" "after revert"
    uplink set eth0 --within 25 >/dev/null
    until_true 90 state_is "$before" >/dev/null
    until_true 30 phase_is none >/dev/null
    uplink set eth0 --within 600 >/dev/null
    "$REPO/lab/power" cut
    "$REPO/lab/power" on
    until_true 60 state_is "$before" >/dev/null
    uplink set eth0 >/dev/null
    uplink confirm >/dev/null
    equal "$connected" "${connected:-}"
    "$REPO/lab/power" reboot
    on_bridge
    contains "$(lab cat /run/network/ifstate)" "ovsbr0=ovsbr0"
    uplink revert >/dev/null
    equal "$before" "$(state)" "after revert in another boot"
    nothing_left
}

test_ifupdown_static_and_dhcp() {
    lab timeout 120 apt-get update --quiet=2 >"$OUT" 2>&1 || skip "the mirror cannot be reached from the virtual machine"
    lab env DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install --yes --quiet=2 --no-install-recommends \
        ifupdown isc-dhcp-client >"$OUT" 2>&1 </dev/null || die "$(tail -n 5 "$OUT")"
    to_ifupdown <<'STATIC'
# The primary network interface
allow-hotplug eth0
iface eth0 inet static
    address 10.0.2.15/24
    gateway 10.0.2.2
STATIC
    move_and_back_by_ifupdown static
    to_ifupdown <<'DHCP'
auto eth0
iface eth0 inet dhcp
DHCP
    move_and_back_by_ifupdown dhcp
}

# to_network_manager [PROFILE]: eth0 by NetworkManager, from the next boot; without a profile by the one that it makes itself.
to_network_manager() {
    lab sh -ec 'test -e /root/10-lab.network || cp /etc/systemd/network/10-lab.network /root
        rm -f /etc/systemd/network/10-lab.network /etc/network/interfaces /etc/NetworkManager/system-connections/*
        systemctl disable --quiet systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service
        systemctl enable --quiet NetworkManager.service
        cat >/root/profile
        if [ -s /root/profile ]; then install -m 600 /root/profile /etc/NetworkManager/system-connections/office.nmconnection; fi'
    "$REPO/lab/power" reboot
    equal "100 (connected)" "$(lab nmcli --get-values GENERAL.STATE device show eth0)"
    # The ends of containers' interfaces are not for it.
    until_true 120 containers_run 2 >/dev/null
    equal "10 (unmanaged)" "$(lab nmcli --get-values GENERAL.STATE device show oc-web-01)"
}

# The profile that is in use on an interface.
profile_of() { lab nmcli --get-values GENERAL.CONNECTION device show "$1"; }

# What is announced by routers ends the same on the bridge.
announced() { lab sh -c "ip -o -6 address show dev $1 scope site | awk '{ print \$4 }'"; }

move_and_back_by_network_manager() {
    local before connected profile six
    before=$(state) connected=$(connections) profile=$(profile_of eth0)
    six=$(announced eth0)
    contains "$(uplink set eth0 --dry-run)" "which NetworkManager configures"
    uplink set eth0 --within 60 >/dev/null
    on_bridge
    equal "$connected" "$(connections)" "connections"
    equal "$profile on ovsbr0" "$(profile_of ovsbr0)"
    equal "" "$(announced eth0)"
    equal "$six" "$(announced ovsbr0)" "addresses of IPv6"
    contains "$(lab cat /etc/resolv.conf)" "nameserver 10.0.2.3"
    equal 600 "$(lab stat --format %a /etc/NetworkManager/system-connections/opdbus-uplink-bridge.nmconnection)"
    # It reads everything anew, and the bridge keeps what it has.
    lab systemctl restart NetworkManager
    until_true 30 on_bridge >/dev/null
    uplink revert >/dev/null
    until_true 30 state_is "$before" >/dev/null
    equal "$profile" "$(profile_of eth0)"
    uplink set eth0 --within 25 >/dev/null
    until_true 90 state_is "$before" >/dev/null
    until_true 30 phase_is none >/dev/null
    uplink set eth0 --within 600 >/dev/null
    "$REPO/lab/power" cut
    "$REPO/lab/power" on
    until_true 60 state_is "$before" >/dev/null
    equal "$profile" "$(profile_of eth0)"
    uplink set eth0 >/dev/null
    uplink confirm >/dev/null
    "$REPO/lab/power" reboot
    on_bridge
    equal "$profile on ovsbr0" "$(profile_of ovsbr0)"
    uplink revert >/dev/null
    until_true 30 state_is "$before" >/dev/null
    nothing_left
}

test_network_manager_static_by_dhcp_and_by_a_profile_of_its_own_making() {
    lab timeout 120 apt-get update --quiet=2 >"$OUT" 2>&1 || skip "the mirror cannot be reached from the virtual machine"
    lab env DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install --yes --quiet=2 --no-install-recommends \
        network-manager >"$OUT" 2>&1 </dev/null || die "$(tail -n 5 "$OUT")"
    to_network_manager <<'STATIC'
[connection]
id=Office
uuid=6f9c1f6e-0d2b-4b7c-9b56-0f6f2f9d7a11
type=ethernet
interface-name=eth0

[ipv4]
method=manual
address1=10.0.2.15/24,10.0.2.2
dns=10.0.2.3;

[ipv6]
method=auto
addr-gen-mode=stable-privacy
STATIC
    move_and_back_by_network_manager
    to_network_manager <<'DHCP'
[connection]
id=Office
uuid=6f9c1f6e-0d2b-4b7c-9b56-0f6f2f9d7a11
type=ethernet

[ipv4]
method=auto

[ipv6]
method=disabled
DHCP
    move_and_back_by_network_manager
    to_network_manager </dev/null
    move_and_back_by_network_manager
}

test_what_netplan_wrote_is_moved_and_its_yaml_stays() {
    local before connected
    lab timeout 120 apt-get update --quiet=2 >"$OUT" 2>&1 || skip "the mirror cannot be reached from the virtual machine"
    lab env DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install --yes --quiet=2 --no-install-recommends \
        netplan.io >"$OUT" 2>&1 </dev/null || die "$(tail -n 5 "$OUT")"
    # netplan-ovs-cleanup.service has 10 s, and needs 6 of processor time where that is emulated.
    lab sh -ec 'test -e /root/10-lab.network || cp /etc/systemd/network/10-lab.network /root
        rm /etc/systemd/network/10-lab.network
        mkdir -p /etc/netplan /etc/systemd/system/netplan-ovs-cleanup.service.d
        printf "[Service]\nTimeoutStartSec=120\n" >/etc/systemd/system/netplan-ovs-cleanup.service.d/slow.conf
        (umask 077; cat >/etc/netplan/50-lab.yaml)' <<'YAML'
network:
  version: 2
  ethernets:
    eth0:
      addresses: [10.0.2.15/24]
      routes: [{to: default, via: 10.0.2.2}]
      nameservers: {addresses: [10.0.2.3]}
YAML
    "$REPO/lab/power" reboot
    equal "/run/systemd/network/10-netplan-eth0.network" "$(lab sh -c '. /run/systemd/netif/links/2; echo $NETWORK_FILE')"
    before=$(state) connected=$(connections)
    uplink set eth0 --within 60 >/dev/null
    on_bridge
    equal "$connected" "$(connections)" "connections"
    uplink confirm >/dev/null
    lab netplan apply
    until_true 30 on_bridge >/dev/null
    "$REPO/lab/power" reboot
    on_bridge
    uplink revert >/dev/null
    until_true 30 state_is "$before" >/dev/null
    nothing_left
}

test_dhcp_by_networkd_keeps_its_address() {
    local before connected
    lab sh -ec 'cp /etc/systemd/network/10-lab.network /root
        printf "%s\n" "[Match]" "Name=eth0" "[Network]" "DHCP=ipv4" "LinkLocalAddressing=no" >/etc/systemd/network/10-lab.network'
    "$REPO/lab/power" reboot
    before=$(state) connected=$(connections)
    uplink set eth0 --within 60 >/dev/null
    on_bridge
    contains "$(lab cat /etc/systemd/network/05-opdbus-uplink-bridge.network)" "IAID="
    equal "$connected" "$(connections)" "connections"
    uplink confirm >/dev/null
    "$REPO/lab/power" reboot
    on_bridge
    uplink revert >/dev/null
    until_true 30 state_is "$before" >/dev/null
    lab cp /root/10-lab.network /etc/systemd/network/10-lab.network
    "$REPO/lab/power" reboot
}

test_the_installer_moves_it_and_an_uninstall_moves_it_back() {
    local connected
    connected=$(connections)
    contains "$(installer --uplink eth0 --plan)" "would become a port of ovsbr0"
    contains "$(installer --uplink eth0 --within 300)" "op-dbus bridge uplink confirm"
    uplink confirm >/dev/null
    on_bridge
    contains "$(installer --uninstall --plan)" "uplink eth0"
    installer --uninstall >"$OUT" 2>&1 || die "$(tail -n 20 "$OUT")"
    equal "10.0.2.15/24" "$(lab sh -c "ip -o -4 address show dev eth0 | awk '{ print \$4 }'")" "the card's address"
    contains "$(lab ip route show default)" "dev eth0"
    equal "" "$(lab ovs-vsctl list-br)" "bridges"
    equal "" "$(lab sh -c 'ls -d /var/lib/opdbus /etc/systemd/network/*opdbus* 2>/dev/null')" "left behind"
    equal "$connected" "$(connections)" "connections"
    installer >"$OUT" 2>&1 || die "$(tail -n 20 "$OUT")"
    until_true 120 containers_run 2 >/dev/null
    plan_is_empty
}
