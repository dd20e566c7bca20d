# expects: services.operation-dbus.netmaker.joinKey
# expects: Keep joinKeyFile
{
  services.operation-dbus.netmaker = {
    joinKey = "token";
    joinKeyFile = "/etc/secrets/key";
  };
}
