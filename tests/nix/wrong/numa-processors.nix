# expects: services.operation-dbus.numa.cpuList
# expects: such as 0-7
{
  services.operation-dbus.numa.cpuList = "0..7";
}
