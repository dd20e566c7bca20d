# expects: services.operation-dbus.containers.web-01.address
# expects: IPv4 address, such as 10.0.0.5
{
  services.operation-dbus.containers.web-01.address = "10.0.0.256";
}
