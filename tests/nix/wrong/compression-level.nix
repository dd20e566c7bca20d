# expects: services.operation-dbus.btrfs.compressionLevel
# expects: between 1 and 15
{
  services.operation-dbus.btrfs.compressionLevel = 22;
}
