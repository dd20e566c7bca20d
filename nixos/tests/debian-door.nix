# The other door: install-opdbus.sh with the static programs, on a Debian 12 pinned to the byte. The declared
# containers run, a second run changes nothing, and nobody but root and the group may.
{
  name = "operation-dbus-debian-door";

  nodes.machine = ./lib/debian-host.nix;

  testScript =
    { nodes, ... }:
    let
      spec = builtins.toJSON {
        version = 1;
        templates.debian-base = { };
        containers = {
          web-01.connect = [ "web-02" ];
          web-02.service = "80";
        };
      };
      rootfs = nodes.machine.system.build.debianGuest;
    in
    builtins.readFile ./lib/helpers.py
    + ''
      INSTALL = "in-debian /opt/operation-dbus/install-opdbus.sh --yes --bin-dir /opt/programs"


      def containers_run(_last):
          status, said = machine.execute("in-debian op-dbus container list --json")
          return status == 0 and [c["state"] for c in json.loads(said)] == ["running", "running"]


      machine.start()
      machine.succeed("debian-make", "systemctl start debian.service")
      machine.wait_until_succeeds("in-debian systemctl is-system-running", timeout=300)
      machine.succeed("in-debian tee /opt/host.json <<'SPEC'\n" + r"""${spec}""" + "\nSPEC\n")

      with subtest("a plan changes nothing"):
          machine.succeed(f"{INSTALL} --plan --rootfs ${rootfs} --config /opt/host.json")
          machine.fail("in-debian test -e /etc/opdbus")

      with subtest("the installer installs, and the containers run"):
          machine.succeed(f"{INSTALL} --rootfs ${rootfs} --config /opt/host.json", timeout=900)
          retry(containers_run, 300)
          assert machine.succeed("in-debian cat /etc/opdbus/deployment-type").strip() == "traditional"
          machine.wait_until_succeeds(
              f"in-debian op-dbus container exec web-01 -- curl --silent --fail --unix-socket {SOCKET} http://web-02/",
              timeout=120,
          )

      with subtest("a second run changes nothing and says so"):
          said = machine.succeed(INSTALL)
          assert "Nothing to change" in said, said
          assert json.loads(machine.succeed("in-debian op-dbus plan --json"))["changes"] == []
          machine.succeed("in-debian op-dbus ledger verify")

      with subtest("a stranger is refused"):
          machine.succeed("in-debian useradd stranger")
          machine.fail("in-debian runuser --user stranger -- op-dbus container create web-05")

      with subtest("a NixOS is told of the module, and left alone"):
          machine.succeed("in-debian touch /etc/NIXOS")
          assert "services.operation-dbus.enable = true" in machine.succeed(INSTALL)
    '';
}
