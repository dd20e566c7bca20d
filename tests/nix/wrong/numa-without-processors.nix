# expects: services.operation-dbus.numa.cpuList
# expects: "0-7"
{
  services.operation-dbus.numa.enable = true;
}
