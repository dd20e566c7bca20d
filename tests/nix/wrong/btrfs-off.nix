# expects: services.operation-dbus.btrfs.enable
# expects: Set it to true
{
  services.operation-dbus.btrfs.enable = false;
}
