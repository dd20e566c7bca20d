# expects: services.operation-dbus.ovs.brige
# expects: does not exist
{
  services.operation-dbus.ovs.brige = "ovsbr1";
}
