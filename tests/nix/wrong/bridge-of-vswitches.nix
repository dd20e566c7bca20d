# expects: services.operation-dbus.ovs.bridge
# expects: Rename one of the two
{
  networking.vswitches.ovsbr0.interfaces = { };
}
