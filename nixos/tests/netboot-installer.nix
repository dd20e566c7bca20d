# The image `installer` erases a disk only when its name was given, and then puts the declared layout on it. Only
# nixos-install is stood in for: it is NixOS' own, and would want the whole of nixpkgs in this machine.
{ hostPkgs, operation-dbus, ... }:

let
  booted = import ./lib/netboot.nix {
    pkgs = hostPkgs;
    modules = [
      operation-dbus
      ../netboot/configs/installer.nix
      (
        { lib, pkgs, ... }:
        {
          system.build.nixos-install = lib.mkForce (
            pkgs.writeShellScriptBin "nixos-install" ''
              echo "$@" > /tmp/nixos-install
              test -e /mnt/etc/nixos/hardware-configuration.nix
            ''
          );
        }
      )
    ];
  };
in
{
  name = "operation-dbus-netboot-installer";

  nodes = { };

  testScript = ''
    machine = create_machine("${booted.command}")
    machine.start()
    machine.wait_for_unit("multi-user.target")

    with subtest("nothing is erased unasked"):
        machine.succeed("opdbus-netboot-install --dry-run vda | grep 'Nothing was changed'")
        machine.fail("opdbus-netboot-install vda </dev/null")
        machine.fail("opdbus-netboot-install vda --yes-erase vdb")
        machine.fail("blkid --probe /dev/vda")

    with subtest("the declared layout is put on the disk"):
        machine.succeed("opdbus-netboot-install vda --yes-erase vda")
        for place, subvolume in [("/mnt", "/@"), ("/mnt/nix", "/@nix"), ("/mnt/var/lib/op-dbus", "/@op-dbus")]:
            found = machine.succeed(f"findmnt --noheadings --output FSROOT --mountpoint {place}").strip()
            assert found == subvolume, f"{place} is {found}"
        machine.succeed("findmnt --noheadings --output FSTYPE --mountpoint /mnt/boot | grep vfat")
        machine.succeed("grep -- '--root /mnt --no-root-password' /tmp/nixos-install")

    with subtest("its configuration is one that Nix reads"):
        machine.succeed("grep @op-dbus /mnt/etc/nixos/hardware-configuration.nix")
        for file in ["configuration", "installed", "hardware-configuration", "operation-dbus/nixos/modules/operation-dbus"]:
            machine.succeed(f"nix-instantiate --parse /mnt/etc/nixos/{file}.nix")

    with subtest("nobody has a password, and nobody listens"):
        machine.fail("systemctl cat sshd.service")
        machine.fail("grep --recursive --extended-regexp 'hashedPassword|initialPassword' /mnt/etc/nixos/*.nix")

    with subtest("a disk that is mounted is refused"):
        machine.fail("opdbus-netboot-install vda --yes-erase vda")
    machine.shutdown()
  '';
}
