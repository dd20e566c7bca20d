# expects: services.operation-dbus.containers.web-01.network
# expects: Set it to "socket"
{
  services.operation-dbus.containers.web-01.network = "mesh";
}
