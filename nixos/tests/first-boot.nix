# A host that was never booted boots to running containers that reach what they were granted and nothing else; and
# after a reboot they are there again. The data is on a disk of its own.
{ lib, ... }:

{
  name = "operation-dbus-first-boot";

  nodes.machine = {
    imports = [
      ./lib/host.nix
      ./lib/containers.nix
    ];
    virtualisation = {
      emptyDiskImages = [ 8192 ];
      fileSystems."/var/lib/op-dbus" = {
        device = "/dev/vdb";
        fsType = "btrfs";
        autoFormat = true;
        options = [ "compress=zstd:3" ];
      };
    };
    services.operation-dbus.btrfs.image = lib.mkForce null;
  };

  testScript = builtins.readFile ./lib/helpers.py + ''
    machine.start()
    with subtest("the declared containers run"):
        wait_for_containers(machine, "web-01", "web-02", "web-03")
        assert_plan_is_empty(machine)

    with subtest("what was granted is reached, and nothing else"):
        assert_web_02_is_reached(machine)
        address = address_of(machine, "web-02")
        machine.fail(f"op-dbus container exec web-03 -- curl --silent --max-time 5 http://{address}/")
        machine.fail(f"op-dbus container exec web-03 -- test -e {SOCKET}")
        machine.fail(f"op-dbus container exec web-02 -- ping -c1 -W2 {address_of(machine, 'web-01')}")

    with subtest("nothing has failed, and the host knows its door"):
        machine.wait_until_succeeds("systemctl is-system-running --wait", timeout=300)
        assert machine.succeed("cat /etc/opdbus/deployment-type").strip() == "nixos"
        machine.succeed("op-dbus ledger verify")

    with subtest("all of it is there after a reboot"):
        before = answer(machine, "container list")
        machine.shutdown()
        machine.start()
        wait_for_containers(machine, "web-01", "web-02", "web-03")
        assert [c["name"] for c in before] == [c["name"] for c in answer(machine, "container list")]
        assert_web_02_is_reached(machine)
        assert_plan_is_empty(machine)
        machine.succeed("op-dbus ledger verify")
  '';
}
