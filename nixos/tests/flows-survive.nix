# Open vSwitch forgets all flows when ovs-vswitchd ends. Ours are back within seconds, with those that the admin put
# into our bridge; another bridge is left alone, and no container notices but for the packets in between.
{
  name = "operation-dbus-flows-survive";

  nodes.machine.imports = [
    ./lib/host.nix
    ./lib/containers.nix
  ];

  testScript = builtins.readFile ./lib/helpers.py + ''
    machine.start()
    wait_for_containers(machine, "web-01", "web-02", "web-03")
    machine.succeed(
        "ovs-vsctl add-br br-admin -- set bridge br-admin fail_mode=secure",
        "ovs-vsctl add-port br-admin adm0 -- set interface adm0 type=internal",
        "ovs-ofctl --protocols=OpenFlow14 add-flow ovsbr0 cookie=0xabc,table=0,priority=77,udp,actions=drop",
    )
    ports = machine.succeed("ovs-vsctl --columns=_uuid,name,ofport,external_ids,type list interface")
    before, containers = flows(machine), processes(machine, "web-01", "web-02", "web-03")
    assert any("cookie=0xabc" in flow for flow in before)


    def are_back(_last):
        status, _ = machine.execute("ovs-ofctl --protocols=OpenFlow14 dump-flows ovsbr0 | grep cookie")
        return status == 0 and flows(machine).keys() == before.keys()


    for signal in ["a restart", "its death"]:
        with subtest(f"flows are back after {signal} of ovs-vswitchd"):
            if signal == "a restart":
                machine.succeed("systemctl restart ovs-vswitchd.service")
            else:
                machine.succeed("systemctl kill --signal=KILL ovs-vswitchd.service")
            retry(are_back, 60)
            assert machine.succeed("ovs-vsctl --columns=_uuid,name,ofport,external_ids,type list interface") == ports
            assert processes(machine, "web-01", "web-02", "web-03") == containers
            assert_web_02_is_reached(machine)
            assert_plan_is_empty(machine)
  '';
}
