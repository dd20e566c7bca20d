# expects: services.operation-dbus.containers.web-01.connect
# expects: take it out
{
  services.operation-dbus.containers.web-01.connect = [ "web-01" ];
}
