# expects: services.operation-dbus.containers."Web_01"
# expects: 1 to 32 of a-z, 0-9 and '-'
{
  services.operation-dbus.containers.Web_01 = { };
}
