# What every host of the fleet is.
{ lib, ... }:

{
  imports = [ ../../modules/operation-dbus.nix ];

  services.operation-dbus = {
    enable = true;
    templates.debian-base = {
      suite = "bookworm";
      timeZone = "Etc/UTC";
    };
    users = [ "operator" ];
  };

  users.users.operator.isNormalUser = true;
  services.openssh = {
    enable = true;
    settings.PasswordAuthentication = false;
  };

  boot.loader.systemd-boot.enable = true;
  fileSystems = {
    "/" = {
      device = "/dev/disk/by-label/nixos";
      fsType = lib.mkDefault "btrfs";
    };
    "/boot" = {
      device = "/dev/disk/by-label/ESP";
      fsType = "vfat";
      options = [ "umask=0077" ];
    };
  };

  system.stateVersion = "26.05";
}
