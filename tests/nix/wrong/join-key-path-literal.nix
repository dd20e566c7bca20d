# expects: services.operation-dbus.netmaker.joinKey
# expects: joinKeyFile = "/etc/secrets/netmaker-join-key"
{
  services.operation-dbus.netmaker.joinKey = ./join-key-path-literal.nix;
}
