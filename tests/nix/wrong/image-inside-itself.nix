# expects: services.operation-dbus.btrfs.image.path
# expects: Put it elsewhere
{
  services.operation-dbus.btrfs.image = {
    path = "/var/lib/op-dbus/data.btrfs";
    size = "20G";
  };
}
