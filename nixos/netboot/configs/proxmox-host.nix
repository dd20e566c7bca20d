# A server that boots from the network and keeps its data on a disk of its own: whatever file system has the label
# opdbus. There is no way out into RAM: a server that once did not find its disk would start with no containers and
# a new ledger, and look healthy. Without the disk the host boots, and operation-dbus waits:
#
#   mkfs.btrfs --label opdbus /dev/disk/by-id/…      once, on the disk that shall have the data
#   reboot
{
  imports = [
    ../base.nix
    ../../modules/operation-dbus.nix
  ];

  services.operation-dbus.enable = true;

  fileSystems."/var/lib/op-dbus" = {
    device = "/dev/disk/by-label/opdbus";
    fsType = "btrfs";
    options = [
      "compress=zstd:3"
      "noatime"
      # The host comes up without it, so that somebody at the console can help.
      "nofail"
      "x-systemd.device-timeout=30s"
    ];
  };
}
