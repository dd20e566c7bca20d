# expects: services.operation-dbus.containers.web-01.service
# expects: a port (80)
{
  services.operation-dbus.containers.web-01.service = 70000;
}
