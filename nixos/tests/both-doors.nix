# One host spec, two doors, one host: the module's and the installer's answer the same to `op-dbus show --json`, but
# for the units, which each door brings in its own way.
{ lib, ... }:

{
  name = "operation-dbus-both-doors";

  nodes = {
    nixos = {
      imports = [
        ./lib/host.nix
        ./lib/containers.nix
      ];
      # As on the Debian: on a btrfs of the host's.
      virtualisation = {
        emptyDiskImages = [ 8192 ];
        fileSystems."/var/lib/op-dbus" = {
          device = "/dev/vdb";
          fsType = "btrfs";
          autoFormat = true;
        };
      };
      services.operation-dbus.btrfs.image = lib.mkForce null;
    };
    debian = ./lib/debian-host.nix;
  };

  testScript = builtins.readFile ./lib/helpers.py + ''
    start_all()
    wait_for_containers(nixos, "web-01", "web-02", "web-03")
    spec = nixos.succeed("cat /etc/opdbus/config.json")

    debian.succeed("debian-make", "systemctl start debian.service")
    debian.wait_until_succeeds("in-debian systemctl is-system-running", timeout=300)
    debian.succeed("in-debian tee /opt/host.json <<'SPEC'\n" + spec + "\nSPEC\n")
    debian.succeed(
        "in-debian /opt/operation-dbus/install-opdbus.sh --yes --bin-dir /opt/programs --config /opt/host.json",
        timeout=900,
    )
    debian.wait_until_succeeds("in-debian op-dbus plan --json | jq --exit-status '.changes == []'", timeout=300)


    def host(said):
        shown = json.loads(said)
        del shown["units"]
        return shown


    def both_are_one(_last):
        return host(nixos.succeed("op-dbus show --json")) == host(debian.succeed("in-debian op-dbus show --json"))


    with subtest("both spoke of one document"):
        assert json.loads(nixos.succeed("op-dbus config show --json")) == json.loads(
            debian.succeed("in-debian op-dbus config show --json")
        )

    with subtest("both made one host of it"):
        # Containers are still starting.
        retry(both_are_one, 120)
  '';
}
