# expects: services.operation-dbus.netmaker.joinKey
# expects: joinKeyFile = "/etc/secrets/netmaker-join-key"
{ pkgs, ... }:
{
  services.operation-dbus.netmaker.joinKey = "${pkgs.writeText "key" "secret"}";
}
