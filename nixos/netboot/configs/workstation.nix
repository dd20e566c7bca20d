# operation-dbus to try: everything is in RAM, no disk is touched, and all of it is gone when the machine is turned
# off. Templates are built from Debian's mirror at the first boot, which takes a network and half a GiB of RAM.
{
  imports = [
    ../base.nix
    ../../modules/operation-dbus.nix
  ];

  services.operation-dbus = {
    enable = true;
    # A sparse file on the root file system, which is in RAM and holds at most half of it.
    btrfs.image.size = "4G";
  };
}
