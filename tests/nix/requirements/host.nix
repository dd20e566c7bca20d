# What ./configuration.nix, the example of the requirements as it stands there, needs to be a host.
{
  boot.loader.systemd-boot.enable = true;
  fileSystems = {
    "/" = {
      device = "/dev/disk/by-label/nixos";
      fsType = "btrfs";
    };
    "/boot" = {
      device = "/dev/disk/by-label/ESP";
      fsType = "vfat";
    };
  };
  system.stateVersion = "26.05";
}
