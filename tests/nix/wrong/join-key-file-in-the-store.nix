# expects: services.operation-dbus.netmaker.joinKeyFile
# expects: outside the Nix store
# expects: "/etc/secrets/netmaker-join-key"
{ pkgs, ... }:
{
  services.operation-dbus.netmaker.joinKeyFile = "${pkgs.writeText "key" "secret"}";
}
