# expects: services.operation-dbus.defaultState.version
# expects: "1.0"
{
  services.operation-dbus.defaultState.version = "2.0";
}
