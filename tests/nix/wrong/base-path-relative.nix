# expects: services.operation-dbus.btrfs.basePath
# expects: absolute path
{
  services.operation-dbus.btrfs.basePath = "op-dbus";
}
