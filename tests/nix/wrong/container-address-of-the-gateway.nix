# expects: services.operation-dbus.containers.web-01.address
# expects: the gateway's
{
  services.operation-dbus.containers.web-01.address = "10.0.0.1";
}
