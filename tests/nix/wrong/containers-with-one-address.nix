# expects: services.operation-dbus.containers.db-01.address
# expects: services.operation-dbus.containers.web-01.address
# expects: 10.0.0.20
# expects: Give each its own
{
  services.operation-dbus.containers = {
    db-01.address = "10.0.0.20";
    web-01.address = "10.0.0.20";
  };
}
