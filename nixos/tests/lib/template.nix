# A template that needs no network.
{ pkgs, ... }:

{
  services.operation-dbus.templates.debian-base.rootfs = "${
    (import ./debian.nix { inherit pkgs; }).guest
  }/root.tar.zst";
}
