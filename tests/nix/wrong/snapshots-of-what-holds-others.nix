# expects: services.operation-dbus.snapshots."@plugins"
# expects: no snapshots are taken of that
{
  services.operation-dbus.snapshots."@plugins".schedule = "daily";
}
