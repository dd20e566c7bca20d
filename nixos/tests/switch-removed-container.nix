# A declaration that is taken out is no longer managed: the container, what is in it and the template stay, it goes
# on running, and the journal says so. Data is never deleted by a rebuild.
{ lib, ... }:

{
  name = "operation-dbus-switch-removed-container";

  nodes.machine = {
    imports = [
      ./lib/host.nix
      ./lib/containers.nix
    ];
    specialisation = {
      fewer.configuration.services.operation-dbus.containers = lib.mkForce {
        web-01.connect = [ "web-02" ];
        web-02.service = 80;
      };
      off.configuration.services.operation-dbus.enable = lib.mkForce false;
    };
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
      inside(machine, "web-03", "sh -c 'echo mine >/root/file'")
      before = processes(machine, "web-01", "web-02", "web-03")
      assert answer(machine, "container show web-03")["origin"] == "declared"

      with subtest("the container stays as it is, and this is said"):
          switch(machine, "${system}/specialisation/fewer")
          machine.wait_until_succeeds("op-dbus plan --json | jq --exit-status '.changes == []'", timeout=120)
          assert answer(machine, "container show web-03")["origin"] == "manual"
          assert processes(machine, "web-01", "web-02", "web-03") == before
          assert inside(machine, "web-03", "cat /root/file").strip() == "mine"
          machine.succeed("journalctl --unit=opdbus-apply.service | grep 'web-03.*no longer declared: kept'")

      with subtest("turned off and on again, operation-dbus finds its data"):
          switch(machine, "${system}/specialisation/off")
          machine.fail("systemctl is-active opdbus.service")
          machine.succeed("test -e /var/lib/op-dbus.btrfs")
          switch(machine, "${system}/specialisation/fewer")
          wait_for_containers(machine, "web-01", "web-02", "web-03")
          assert inside(machine, "web-03", "cat /root/file").strip() == "mine"
          machine.succeed("op-dbus ledger verify")
    '';
}
