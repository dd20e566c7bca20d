# The image `workstation` boots from the network, operation-dbus works in it from RAM, and there is no credential in
# it and no way in over the network.
{ hostPkgs, operation-dbus, ... }:

let
  booted = import ./lib/netboot.nix {
    pkgs = hostPkgs;
    modules = [
      operation-dbus
      ../netboot/configs/workstation.nix
      ./lib/template.nix
      { services.operation-dbus.containers.web-02.service = 80; }
    ];
  };
in
{
  name = "operation-dbus-netboot-workstation";

  nodes = { };

  testScript = builtins.readFile ./lib/helpers.py + ''
    machine = create_machine("${booted.command}")
    machine.start()
    machine.wait_for_unit("multi-user.target")

    with subtest("operation-dbus works, from RAM"):
        machine.wait_until_succeeds("op-dbus container show web-02 --json | grep '\"running\"'", timeout=900)
        machine.succeed("findmnt --noheadings --output FSTYPE / | grep --line-regexp tmpfs")
        machine.succeed("findmnt --noheadings --output FSTYPE /var/lib/op-dbus | grep --line-regexp btrfs")

    with subtest("no disk of the machine's is touched"):
        assert machine.succeed("lsblk --noheadings --output FSTYPE /dev/vda").strip() == ""

    with subtest("there is no credential in it"):
        # Every account's password is locked; root's is the test driver's.
        machine.fail("grep --invert-match --extended-regexp '^(root:|[^:]*:[!*])' /etc/shadow")
        machine.fail("find / -xdev -name 'authorized_keys*' -o -xdev -name 'ssh_host_*' | grep .")
        machine.fail("nix-store --query --requisites /run/current-system | grep opdbus-netboot-install")

    with subtest("nobody is let in over the network"):
        machine.fail("systemctl cat sshd.service")
        listening = machine.succeed("ss --no-header --listening --tcp --numeric").splitlines()
        assert all("127.0.0." in line or "[::1]" in line for line in listening), listening
    machine.shutdown()
  '';
}
