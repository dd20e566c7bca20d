# shellcheck shell=bash disable=SC2016 # variables of the lab's own shells
# lab: bare
# The chat's port in the host's firewall, UFW and firewalld of Debian: a rule only where it is asked for, which a
# network namespace on the lab's network tells; it goes with the setting and with us, and what the admin had stays.

teardown() { "$REPO/lab/down" >/dev/null 2>&1 || true; }

# fresh PACKAGE…: a bare lab with these packages of its own Debian. It has no way out, so that this machine's apt gets
# them for it.
fresh() {
    local apt=$OUT.apt status=0
    command -v apt-get >/dev/null || skip "this machine has no apt to get the packages with"
    "$REPO/lab/down" >/dev/null && "$REPO/lab/up" --yes --no-install >/dev/null
    mkdir -p "$apt"/{lists,archives}/partial
    lab cat /var/lib/dpkg/status >"$apt/status"
    lab bash -c 'cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true' >"$apt/sources.list"
    local -a call=(
        timeout 120 apt-get --quiet=2 --yes --no-install-recommends -o Dir::State::status="$apt/status" -o Dir::State::lists="$apt/lists"
        -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::Cache="$apt" -o Dir::Cache::archives="$apt/archives"
        -o APT::Sandbox::User=root -o Acquire::Languages=none
    )
    { "${call[@]}" update && "${call[@]}" install --download-only "$@"; } >"$OUT" 2>&1 || status=$?
    if ((status == 0)); then
        tar --create --directory "$apt/archives" --exclude=partial --exclude=lock . | lab bash -ec '
            mkdir -p /root/packages; tar --extract --directory /root/packages
            DEBIAN_FRONTEND=noninteractive dpkg --install /root/packages/*.deb' >"$OUT" 2>&1 || status=$?
        ((status == 0)) || die "the packages could not be installed: $(tail -n5 "$OUT")"
    fi
    rm -rf "$apt"
    ((status == 0)) || skip "the mirror cannot be reached: $(tail -n1 "$OUT")"
}

# Another host on the lab's network.
outside_is_there() {
    lab bash -ec '
        ip netns add outside; ip link add out0 type veth peer name eth0 netns outside
        ip address add 192.0.2.1/24 dev out0; ip link set out0 up
        ip -n outside address add 192.0.2.2/24 dev eth0; ip -n outside link set eth0 up'
}
# What the chat says to it at a port, without a token: 401; 000 where nothing comes through.
from_outside() {
    lab ip netns exec outside curl --silent --output /dev/null --write-out '%{http_code}' --max-time 3 \
        --header "Host: ops.example.org${2:-}" "http://192.0.2.1:${1:-8080}/session" || true
}
# set_mcp JSON: fields of `mcp` in the host spec.
set_mcp() { lab bash -ec 'jq ".mcp += $1" /etc/opdbus/config.json >/root/config && cat /root/config >/etc/opdbus/config.json' set "$1"; }
planned() { opdbus plan --json | jq --raw-output '.changes[] | "\(.component) \(.action) \(.object)"'; }
same() { [[ $1 == "$2" ]] || die "$3: $(diff <(echo "$1") <(echo "$2") || true)"; }
PUBLIC='{"enable": true, "address": "0.0.0.0", "proxy": true, "hosts": ["ops.example.org"]}'

test_a_rule_of_ufw_is_there_while_it_is_asked_for_and_the_admins_stay() {
    local before rules
    fresh ufw
    outside_is_there
    lab bash -ec '
        ufw allow 22/tcp; ufw allow 9000/tcp comment "mine"; ufw deny from 10.9.9.9 to any port 8080; ufw --force enable' >/dev/null
    ufw_state() { lab bash -c 'ufw status numbered; find /etc/ufw -type f -printf "%p %m %u %g\n" -exec sha256sum {} + | sort'; }
    before=$(ufw_state)
    install_afresh >/dev/null
    equal 3 "$(refused_spec '{"openFirewall": true}')"
    contains "$(cat "$OUT")" "mcp.openFirewall"
    contains "$(cat "$OUT")" "127.0.0.1 is reached by this host alone"

    # On the network, and not asked for: nothing is opened.
    set_mcp "$PUBLIC"
    opdbus apply >/dev/null
    equal 401 "$(lab curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:8080/session --header 'Host: localhost:8080')" "the chat itself"
    equal 000 "$(from_outside)" "not asked for"
    same "$before" "$(ufw_state)" "a chat on the network alone"

    set_mcp '{"openFirewall": true}'
    equal "firewall create rule opdbus-chat of UFW" "$(planned)"
    same "$before" "$(ufw_state)" "a plan"
    equal 000 "$(from_outside)" "after a plan"
    opdbus apply >"$OUT"
    contains "$(cat "$OUT")" "rule opdbus-chat of UFW"
    equal 401 "$(from_outside)" "asked for"
    # Twice is once.
    rules=$(ufw_state)
    plan_is_empty
    opdbus apply >/dev/null
    installer >"$OUT"
    contains "$(cat "$OUT")" "Nothing to change"
    same "$rules" "$(ufw_state)" "a second time"
    equal '{"active":true,"port":8080,"rule":true}' "$(opdbus show firewall --json | jq --compact-output --sort-keys '.. | .ufw? // empty')"

    # The admin allows the same port: theirs is another rule, and stays.
    lab ufw allow 8080/tcp >/dev/null
    plan_is_empty
    set_mcp '{"port": 8443}'
    contains "$(planned)" "firewall update rule opdbus-chat of UFW"
    opdbus apply >/dev/null
    equal 401 "$(from_outside 8443)" "the port changed"
    plan_is_empty
    set_mcp '{"port": 8080, "openFirewall": false}'
    opdbus apply >/dev/null
    equal 401 "$(from_outside)" "by the rule of the admin"
    contains "$(lab ufw show added)" "ufw allow 8080/tcp"
    lab ufw delete allow 8080/tcp >/dev/null
    equal 000 "$(from_outside)" "closed"
    same "$before" "$(ufw_state)" "after it was set to false"

    # A chat that is not served is not let through, and one that is uninstalled neither.
    set_mcp '{"openFirewall": true}'
    opdbus apply >/dev/null
    set_mcp '{"enable": false}'
    installer >"$OUT"
    contains "$(cat "$OUT")" "rule opdbus-chat of UFW"
    plan_is_empty
    same "$before" "$(ufw_state)" "without a chat"
    set_mcp '{"enable": true}'
    installer >/dev/null
    equal 401 "$(from_outside)" "with it again"
    lab /opt/operation-dbus/install-opdbus.sh --uninstall --plan >"$OUT"
    contains "$(cat "$OUT")" "- rule opdbus-chat of UFW"
    lab /opt/operation-dbus/install-opdbus.sh --uninstall --yes >/dev/null
    same "$before" "$(ufw_state)" "after the uninstall"
}

# refused_spec JSON: the status with which a host spec with these fields of `mcp` is refused; it is not kept.
refused_spec() {
    lab bash -ec 'jq ".mcp += $1" /etc/opdbus/config.json >/root/refused.json' set "$1"
    refused lab op-dbus config check /root/refused.json
}

test_ufw_that_came_after_us_is_written_to_once_the_daemon_was_restarted() {
    fresh ufw
    lab bash -ec 'mv /etc/ufw /root/ufw'
    install_afresh >/dev/null
    lab bash -ec 'mv /root/ufw /etc/ufw; ufw --force enable' >/dev/null
    set_mcp "$PUBLIC"
    set_mcp '{"openFirewall": true}'
    refused lab op-dbus apply >/dev/null
    contains "$(cat "$OUT")" "systemctl restart opdbus.service"
    lab systemctl restart opdbus.service
    opdbus apply >/dev/null
    contains "$(lab ufw status)" opdbus-chat
    # The admin says no to our profile, and that holds; what names it keeps it.
    lab ufw deny opdbus-chat >/dev/null
    plan_is_empty
    set_mcp '{"openFirewall": false}'
    plan_is_empty
    lab /opt/operation-dbus/install-opdbus.sh --uninstall --yes >"$OUT"
    contains "$(cat "$OUT")" "applications.d/opdbus-chat stays"
    contains "$(lab ufw show added)" "ufw deny opdbus-chat"
}

test_a_rule_of_firewalld_is_in_force_at_once_and_after_a_reload_and_the_admins_stay() {
    local before rules
    fresh firewalld
    outside_is_there
    # What is in force and not kept is the admin's, too: a reload would lose it.
    lab bash -ec '
        firewall-cmd --permanent --add-port=9000/tcp
        firewall-cmd --permanent --add-rich-rule="rule family=ipv4 source address=10.9.9.9 port port=8080 protocol=tcp reject"
        firewall-cmd --reload; firewall-cmd --add-port=9001/tcp' >/dev/null
    firewalld_state() {
        lab bash -c '
            firewall-cmd --list-all-zones; firewall-cmd --permanent --list-all-zones; firewall-cmd --get-services
            find /etc/firewalld -type f ! -name "*.old" -printf "%p %m %u %g\n" -exec sha256sum {} + | sort'
    }
    before=$(firewalld_state)
    lab bash -ec 'jq ".mcp += $1" /opt/lab/host.json >/root/host.json' set "$PUBLIC"
    installer --rootfs /opt/lab/guest.tar.zst --config /root/host.json >/dev/null
    equal 000 "$(from_outside)" "not asked for"
    same "$before" "$(firewalld_state)" "a chat on the network alone"
    lab bash -ec 'rm /etc/opdbus/config.json'
    installer --rootfs /opt/lab/guest.tar.zst --config /root/host.json --open-firewall --plan >"$OUT"
    contains "$(cat "$OUT")" "rule of firewalld for port 8080/tcp in the zone public"
    same "$before" "$(firewalld_state)" "a plan"
    installer --rootfs /opt/lab/guest.tar.zst --config /root/host.json --open-firewall >"$OUT"
    contains "$(cat "$OUT")" "rule of firewalld for port 8080/tcp in the zone public"
    equal true "$(lab jq .mcp.openFirewall /etc/opdbus/config.json)"
    equal 401 "$(from_outside)" "asked for"
    contains "$(lab firewall-cmd --list-ports)" "9001/tcp" "what was in force alone"
    plan_is_empty
    rules=$(firewalld_state)
    opdbus apply >/dev/null
    installer >"$OUT"
    contains "$(cat "$OUT")" "Nothing to change"
    same "$rules" "$(firewalld_state)" "a second time"
    lab firewall-cmd --reload >/dev/null
    equal 401 "$(from_outside)" "after a reload"
    plan_is_empty
    lab firewall-cmd --add-port=9001/tcp >/dev/null

    # Another port, and the same port by a rule of the admin's.
    set_mcp '{"port": 8443}'
    equal 2 "$(planned | grep --count '^firewall ')"
    opdbus apply >/dev/null
    equal 401 "$(from_outside 8443)" "the port changed"
    lab firewall-cmd --add-port=8443/tcp >/dev/null
    set_mcp '{"openFirewall": false}'
    opdbus apply >/dev/null
    equal 401 "$(from_outside 8443)" "by the rule of the admin"
    lab firewall-cmd --remove-port=8443/tcp >/dev/null
    equal 000 "$(from_outside 8443)" "closed"
    same "$before" "$(firewalld_state)" "after it was set to false"

    # While it does not run there is nothing to open; what it keeps of ours goes all the same.
    set_mcp '{"port": 8080, "openFirewall": true}'
    opdbus apply >/dev/null
    lab systemctl stop firewalld.service
    plan_is_empty
    contains "$(opdbus doctor open-port)" "neither UFW nor firewalld runs"
    equal inactive "$(lab systemctl is-active firewalld.service || true)" "looking does not start it"
    set_mcp '{"openFirewall": false}'
    opdbus apply >/dev/null
    lab bash -ec 'systemctl start firewalld.service; firewall-cmd --add-port=9001/tcp' >/dev/null
    same "$before" "$(firewalld_state)" "after it was set to false while it did not run"

    set_mcp '{"openFirewall": true}'
    opdbus apply >/dev/null
    equal 401 "$(from_outside)" "open once more"
    lab /opt/operation-dbus/install-opdbus.sh --uninstall --yes >"$OUT"
    contains "$(cat "$OUT")" "rule of firewalld for port 8080/tcp in the zone public"
    same "$before" "$(firewalld_state)" "after the uninstall"
}

test_without_a_firewall_there_is_nothing_to_open_and_that_is_said() {
    "$REPO/lab/down" >/dev/null && "$REPO/lab/up" --yes --no-install >/dev/null
    equal 3 "$(refused installer --rootfs /opt/lab/guest.tar.zst --config /opt/lab/host.json --open-firewall)" "$(cat "$OUT")"
    contains "$(cat "$OUT")" "mcp.openFirewall"
    lab bash -ec 'jq ".mcp += $1" /opt/lab/host.json >/root/host.json' set "$PUBLIC"
    installer --rootfs /opt/lab/guest.tar.zst --config /root/host.json --open-firewall >"$OUT" 2>&1
    contains "$(cat "$OUT")" "neither UFW nor firewalld runs here"
    plan_is_empty
    contains "$(opdbus doctor open-port)" "opens nothing"
}
