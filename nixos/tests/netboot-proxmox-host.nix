# The image `proxmox-host` keeps its data on the disk that has the label opdbus. Without that disk the host boots and
# makes nothing up; with it, what was there before a reboot is there after it.
{ hostPkgs, operation-dbus, ... }:

let
  booted = import ./lib/netboot.nix {
    pkgs = hostPkgs;
    modules = [
      operation-dbus
      ../netboot/configs/proxmox-host.nix
      ./lib/template.nix
      { services.operation-dbus.containers.web-02.service = 80; }
    ];
  };
in
{
  name = "operation-dbus-netboot-proxmox-host";

  nodes = { };

  testScript = builtins.readFile ./lib/helpers.py + ''
    machine = create_machine("${booted.command}")
    machine.start()

    with subtest("without the disk the host boots, and no data is made up"):
        machine.wait_for_unit("multi-user.target")
        machine.fail("systemctl is-active opdbus.service opdbus-storage.service")
        machine.fail("test -e /var/lib/op-dbus/@timing")

    with subtest("with it, operation-dbus works"):
        machine.succeed("mkfs.btrfs --label opdbus /dev/vda", "sync")
        machine.shutdown()
        machine.start()
        machine.wait_until_succeeds("op-dbus container show web-02 --json | grep '\"running\"'", timeout=900)
        machine.succeed("op-dbus container exec web-02 -- sh -c 'echo mine >/root/file'")
        entries = machine.succeed("op-dbus ledger show --json --limit 0")
        machine.succeed("sync")

    with subtest("and goes on with it after a reboot"):
        machine.shutdown()
        machine.start()
        machine.wait_until_succeeds("op-dbus container show web-02 --json | grep '\"running\"'", timeout=900)
        assert machine.succeed("op-dbus container exec web-02 -- cat /root/file").strip() == "mine"
        now = json.loads(machine.succeed("op-dbus ledger show --json --limit 0"))
        assert len(now) >= len(json.loads(entries))
        machine.succeed("op-dbus ledger verify")
    machine.shutdown()
  '';
}
