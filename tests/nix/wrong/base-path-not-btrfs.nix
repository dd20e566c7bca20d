# expects: services.operation-dbus.btrfs.basePath
# expects: services.operation-dbus.btrfs.image = { size = "20G"; }
{ lib, ... }:
{
  fileSystems."/".fsType = lib.mkForce "ext4";
}
