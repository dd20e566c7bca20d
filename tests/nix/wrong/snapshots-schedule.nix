# expects: services.operation-dbus.snapshots."@state".schedule
# expects: one of "hourly", "daily"
{
  services.operation-dbus.snapshots."@state".schedule = "yearly";
}
