# expects: services.operation-dbus.users
# expects: alcie
# expects: Declare users.users.alcie
{
  services.operation-dbus.users = [ "alcie" ];
}
