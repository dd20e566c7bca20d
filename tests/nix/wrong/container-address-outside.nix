# expects: services.operation-dbus.containers.web-01.address
# expects: services.operation-dbus.ovs.subnet
# expects: 10.0.0.0/24
{
  services.operation-dbus.containers.web-01.address = "10.1.0.20";
}
