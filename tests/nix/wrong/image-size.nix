# expects: services.operation-dbus.btrfs.image.size
# expects: such as 20G
{
  services.operation-dbus.btrfs.image.size = "20 GiB";
}
