# What the tests of NixOS share. `machine` is one of the test driver's.
import json
import re

SOCKET = "/var/lib/op-dbus/sockets/containers/web-02/web-02.sock"


def answer(machine, command):
    """What op-dbus says."""
    return json.loads(machine.succeed(f"op-dbus {command} --json"))


def assert_plan_is_empty(machine):
    changes = answer(machine, "plan")["changes"]
    assert changes == [], f"op-dbus plan is not empty: {changes}"


def wait_for_containers(machine, *names):
    # Before the first container there is a template to be made.
    for name in names:
        machine.wait_until_succeeds(
            f"op-dbus container show {name} --json | jq --exit-status '.state == \"running\"'", timeout=900
        )
    machine.wait_until_succeeds("op-dbus plan --json | jq --exit-status '.changes == []'", timeout=300)


def inside(machine, name, command):
    return machine.succeed(f"op-dbus container exec {name} -- {command}")


def address_of(machine, name):
    return answer(machine, f"container show {name}")["address"]


def assert_web_02_is_reached(machine):
    """By the one that was granted it, over its socket and its address."""
    machine.wait_until_succeeds(
        f"op-dbus container exec web-01 -- curl --silent --fail --max-time 5 --unix-socket {SOCKET} http://web-02/",
        timeout=120,
    )
    address = address_of(machine, "web-02")
    machine.wait_until_succeeds(
        f"op-dbus container exec web-01 -- curl --silent --fail --max-time 5 http://{address}/", timeout=120
    )


def processes(machine, *names):
    """The first process of each container: another one after a restart."""
    return {
        name: machine.succeed(
            f"systemctl show --property=MainPID,ExecMainStartTimestamp opdbus-container@{name}.service"
        )
        for name in names
    }


def flows(machine):
    """Each flow with its age in seconds and the packets it has counted; one that was put in anew has neither."""
    found = {}
    for line in machine.succeed("ovs-ofctl --protocols=OpenFlow14 dump-flows ovsbr0").splitlines():
        age = re.search(r"duration=([0-9.]+)s", line)
        packets = re.search(r"n_packets=([0-9]+)", line)
        if age and packets:
            rest = re.sub(r"(duration|n_packets|n_bytes|idle_age|hard_age)=[^, ]+,? ?", "", line)
            found[rest.strip()] = (float(age[1]), int(packets[1]))
    assert found, "there are no flows"
    return found


def assert_flows_were_left_alone(before, after):
    assert before.keys() == after.keys(), f"other flows: {before.keys() ^ after.keys()}"
    for flow, (age, packets) in before.items():
        assert after[flow][0] >= age and after[flow][1] >= packets, f"put in anew: {flow}"


def switch(machine, system):
    """Puts another system into effect as nixos-rebuild does; gives what it said."""
    return machine.succeed(f"{system}/bin/switch-to-configuration test 2>&1")
