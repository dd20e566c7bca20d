# expects: services.operation-dbus.ovs.subnet
# expects: 16 to 29 bits
{
  services.operation-dbus.ovs.subnet = "10.0.0.0/30";
}
