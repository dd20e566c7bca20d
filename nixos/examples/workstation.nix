# The minimal host: a workstation on btrfs with one container, all else as it comes.
{
  imports = [ ../modules/operation-dbus.nix ];

  services.operation-dbus = {
    enable = true;
    users = [ "alice" ];
    containers.dev-01 = { };
  };

  users.users.alice = {
    isNormalUser = true;
    extraGroups = [ "wheel" ];
  };

  networking.hostName = "workstation";

  boot.loader.systemd-boot.enable = true;
  fileSystems = {
    "/" = {
      device = "/dev/disk/by-label/nixos";
      fsType = "btrfs";
      options = [
        "subvol=@"
        "compress=zstd:3"
      ];
    };
    "/boot" = {
      device = "/dev/disk/by-label/ESP";
      fsType = "vfat";
      options = [ "umask=0077" ];
    };
  };

  system.stateVersion = "26.05";
}
