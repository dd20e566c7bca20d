# expects: services.operation-dbus.settings.ovs.bridge
# expects: conflicting definition
{
  services.operation-dbus = {
    ovs.bridge = "ovsbr1";
    settings.ovs.bridge = "ovsbr2";
  };
}
