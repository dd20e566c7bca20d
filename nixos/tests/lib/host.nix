# A host for tests: the data in an image, and a template that needs no network.
{ pkgs, ... }:

{
  imports = [ ./template.nix ];

  virtualisation = {
    cores = 2;
    memorySize = 3072;
    diskSize = 8192;
  };

  services.operation-dbus = {
    enable = true;
    btrfs.image.size = "6G";

  };

  environment.systemPackages = [
    pkgs.curl
    pkgs.jq
  ];
}
