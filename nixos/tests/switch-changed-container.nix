# A rebuild that changes one container's declaration touches that container and no other; one that declares another
# adds it.
{
  name = "operation-dbus-switch-changed-container";

  nodes.machine = {
    imports = [
      ./lib/host.nix
      ./lib/containers.nix
    ];
    specialisation = {
      changed.configuration.services.operation-dbus.containers.web-03.connect = [ "web-02" ];
      added.configuration.services.operation-dbus.containers.web-04.connect = [ "web-02" ];
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
      before = processes(machine, "web-01", "web-02")
      address = address_of(machine, "web-02")
      machine.fail(f"op-dbus container exec web-03 -- curl --silent --max-time 5 http://{address}/")

      with subtest("a grant more is a grant for that container"):
          switch(machine, "${system}/specialisation/changed")
          wait_for_containers(machine, "web-01", "web-02", "web-03")
          machine.wait_until_succeeds(
              f"op-dbus container exec web-03 -- curl --silent --fail --max-time 5 http://{address}/", timeout=120
          )
          assert processes(machine, "web-01", "web-02") == before
          assert_web_02_is_reached(machine)

      with subtest("and is taken away again"):
          switch(machine, "${system}")
          wait_for_containers(machine, "web-01", "web-02", "web-03")
          machine.fail(f"op-dbus container exec web-03 -- curl --silent --max-time 5 http://{address}/")
          assert processes(machine, "web-01", "web-02") == before

      with subtest("one container more is one container more"):
          before = processes(machine, "web-01", "web-02", "web-03")
          switch(machine, "${system}/specialisation/added")
          wait_for_containers(machine, "web-01", "web-02", "web-03", "web-04")
          assert processes(machine, "web-01", "web-02", "web-03") == before
    '';
}
