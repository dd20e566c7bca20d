# expects: services.operation-dbus.btrfs.subvolumes
# expects: @timing
# expects: Add to the default
{
  services.operation-dbus.btrfs.subvolumes = [ "@cache" ];
}
