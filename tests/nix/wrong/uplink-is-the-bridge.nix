# expects: services.operation-dbus.ovs.uplink
# expects: Name the network interface
{
  services.operation-dbus.ovs.uplink = "ovsbr0";
}
