# expects: services.operation-dbus.btrfs.basePath
# expects: without
{
  services.operation-dbus.btrfs.basePath = "/srv/op dbus";
}
