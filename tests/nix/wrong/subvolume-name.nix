# expects: services.operation-dbus.btrfs.subvolumes
# expects: name of a subvolume
{
  services.operation-dbus.btrfs.subvolumes = [ "cache" ];
}
