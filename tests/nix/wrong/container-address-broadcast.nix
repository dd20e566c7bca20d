# expects: services.operation-dbus.containers.web-01.address
# expects: services.operation-dbus.ovs.subnet
{
  services.operation-dbus.containers.web-01.address = "10.0.0.255";
}
