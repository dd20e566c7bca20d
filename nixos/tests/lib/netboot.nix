# A machine that boots an image from the network, as PXE does: with a disk that is empty, and more RAM than disk.
{ pkgs, modules }:

let
  inherit (pkgs) lib;

  inherit
    ((import (pkgs.path + "/nixos/lib/eval-config.nix") {
      system = null;
      modules = modules ++ [
        (pkgs.path + "/nixos/modules/testing/test-instrumentation.nix")
        { nixpkgs.pkgs = pkgs; }
      ];
    }).config.system
    )
    build
    ;

  served = pkgs.symlinkJoin {
    name = "operation-dbus-netboot";
    paths = [
      build.kernel
      build.netbootRamdisk
      build.netbootIpxeScript
    ];
  };
in
{
  # The driver runs it in a directory of the machine's own, where the disk stays from one boot to the next.
  command = lib.concatStringsSep " " [
    "test -e disk.raw || truncate --size=16G disk.raw;"
    "${pkgs.qemu_test}/bin/qemu-kvm -machine accel=kvm:tcg -cpu max -m 6144 -smp 2"
    "-drive file=disk.raw,format=raw,if=virtio"
    "-netdev user,id=net0,tftp=${served},bootfile=netboot.ipxe"
    "-device virtio-net-pci,netdev=net0"
    "-boot order=n"
  ];
}
