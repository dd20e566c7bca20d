# expects: services.operation-dbus.containers.web-01.memory
# expects: does not exist
{
  services.operation-dbus.containers.web-01.memory = 512;
}
