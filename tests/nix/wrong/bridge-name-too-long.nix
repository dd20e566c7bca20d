# expects: services.operation-dbus.ovs.bridge
# expects: 1 to 15 letters
{
  services.operation-dbus.ovs.bridge = "a-bridge-for-containers";
}
