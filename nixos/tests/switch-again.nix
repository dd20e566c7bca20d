# A rebuild that changes nothing of operation-dbus touches nothing of it: neither the same system again, nor one
# that differs elsewhere. What the admin made by hand beside it stays as well.
{
  name = "operation-dbus-switch-again";

  nodes.machine = {
    imports = [
      ./lib/host.nix
      ./lib/containers.nix
    ];
    specialisation.elsewhere.configuration.environment.etc.unrelated.text = "changed";
  };

  testScript =
    { nodes, ... }:
    let
      system = nodes.machine.system.build.toplevel;
    in
    builtins.readFile ./lib/helpers.py
    + ''
      machine.start()
      wait_for_containers(machine, "web-01", "web-02", "web-03")
      assert_web_02_is_reached(machine)
      machine.succeed(
          "op-dbus container create by-hand",
          "ovs-vsctl add-br br-admin",
          "ovs-ofctl --protocols=OpenFlow14 add-flow ovsbr0 cookie=0xabc,table=0,priority=77,udp,actions=drop",
      )


      def state():
          return (
              processes(machine, "web-01", "web-02", "web-03", "by-hand"),
              machine.succeed("systemctl show --property=MainPID opdbus.service ovs-vswitchd.service ovsdb.service"),
              machine.succeed("ovs-vsctl --columns=_uuid,name,ofport,external_ids list interface"),
              machine.succeed("ovs-vsctl --columns=_uuid,name list bridge"),
              machine.succeed("nft list ruleset"),
              machine.succeed("btrfs subvolume list -u /var/lib/op-dbus"),
          )


      for system in ["${system}", "${system}/specialisation/elsewhere", "${system}"]:
          with subtest(f"nothing is touched by {system}"):
              before, flows_before = state(), flows(machine)
              switch(machine, system)
              assert_flows_were_left_alone(flows_before, flows(machine))
              assert state() == before, f"{state()} is not {before}"
              assert_plan_is_empty(machine)
              assert_web_02_is_reached(machine)
    '';
}
