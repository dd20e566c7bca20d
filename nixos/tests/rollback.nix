# A generation that turns out wrong is left by going back to the one before: what that one declared runs, and what
# only the newer one declared is kept.
{
  name = "operation-dbus-rollback";

  nodes.machine = {
    imports = [
      ./lib/host.nix
      ./lib/containers.nix
    ];
    specialisation.newer.configuration.services.operation-dbus = {
      ovs.dns = [ "9.9.9.9" ];
      containers.web-04 = { };
      containers.web-03.connect = [ "web-02" ];
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
      machine.succeed("nix-env --profile /nix/var/nix/profiles/system --set ${system}")
      spec = machine.succeed("cat /etc/opdbus/config.json")
      entries = len(answer(machine, "ledger show --limit 0"))

      with subtest("the newer generation is in effect"):
          machine.succeed("nix-env --profile /nix/var/nix/profiles/system --set ${system}/specialisation/newer")
          switch(machine, "/nix/var/nix/profiles/system")
          wait_for_containers(machine, "web-01", "web-02", "web-03", "web-04")
          assert machine.succeed("cat /etc/opdbus/config.json") != spec
          before = processes(machine, "web-01", "web-02", "web-04")

      with subtest("the older one is in effect again"):
          machine.succeed("nix-env --profile /nix/var/nix/profiles/system --rollback")
          switch(machine, "/nix/var/nix/profiles/system")
          wait_for_containers(machine, "web-01", "web-02", "web-03")
          assert machine.succeed("cat /etc/opdbus/config.json") == spec
          assert answer(machine, "container show web-04")["origin"] == "manual"
          assert processes(machine, "web-01", "web-02", "web-04") == before
          address = address_of(machine, "web-02")
          machine.fail(f"op-dbus container exec web-03 -- curl --silent --max-time 5 http://{address}/")

      with subtest("the ledger has both, and goes on"):
          assert len(answer(machine, "ledger show --limit 0")) > entries
          machine.succeed("op-dbus ledger verify")
    '';
}
