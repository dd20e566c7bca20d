# expects: services.operation-dbus.btrfs.image.size
# expects: Try setting the option
{
  services.operation-dbus.btrfs.image = { };
}
