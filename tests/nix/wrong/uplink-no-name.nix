# expects: services.operation-dbus.ovs.uplink
# expects: name of a network interface
{
  services.operation-dbus.ovs.uplink = "enp3s0 ";
}
