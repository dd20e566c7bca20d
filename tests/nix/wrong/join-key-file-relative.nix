# expects: services.operation-dbus.netmaker.joinKeyFile
# expects: not an absolute path
# expects: "/etc/secrets/netmaker-join-key"
{
  services.operation-dbus.netmaker.joinKeyFile = "secrets/key";
}
