# expects: services.operation-dbus.btrfs.image
# expects: fileSystems."/var/lib/op-dbus"
# expects: Keep one
{
  services.operation-dbus.btrfs.image.size = "20G";
  fileSystems."/var/lib/op-dbus" = {
    device = "/dev/disk/by-label/data";
    fsType = "btrfs";
  };
}
