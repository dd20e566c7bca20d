# expects: services.operation-dbus.ovs.subnet
# expects: a network's own address
{
  services.operation-dbus.ovs.subnet = "10.0.0.5/24";
}
