# Boots from the network and installs NixOS with operation-dbus on a disk: `opdbus-netboot-install`. It erases
# nothing by itself. For machines of one kind, an image of one's own declares their disk:
#
#   operation-dbus.installer.layout.disk = "/dev/disk/by-path/pci-0000:01:00.0-nvme-1";
{
  imports = [
    ../base.nix
    ../installer.nix
  ];
}
