# expects: services.operation-dbus.containers.web-01.limits.cores
# expects: between 1 and
{
  services.operation-dbus.containers.web-01.limits.cores = 0;
}
