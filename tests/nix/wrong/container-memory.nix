# expects: services.operation-dbus.containers.web-01.limits.memory
# expects: between 64 and
{
  services.operation-dbus.containers.web-01.limits.memory = 16;
}
