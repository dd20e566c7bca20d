# What every image that boots from the network has: a Nix store in RAM, the network by DHCP, and the machine's
# own console as the only way in. The iPXE script names no host: it takes kernel and initrd from where it came from.
{
  config,
  lib,
  modulesPath,
  ...
}:

{
  imports = [ (modulesPath + "/installer/netboot/netboot.nix") ];

  # Network cards, mostly. Drivers of disks are loaded when the system runs, since it has its root in RAM.
  hardware.enableRedistributableFirmware = true;

  # No password, key or account is in an image, so that whoever sits at the console is let in as root: they
  # could have it by the kernel's command line anyhow. Over the network nobody is: there is no SSH server. An
  # image of one's own turns this round: services.openssh.enable, users.users.….openssh.authorizedKeys, and
  # services.getty.autologinUser = null.
  services.getty.autologinUser = lib.mkDefault "root";

  # The one that DHCP gives.
  networking.hostName = lib.mkDefault "";

  documentation.nixos.enable = lib.mkDefault false;

  # Nothing of the system outlives a boot.
  system.stateVersion = lib.mkDefault config.system.nixos.release;
}
