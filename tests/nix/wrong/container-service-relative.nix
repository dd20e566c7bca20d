# expects: services.operation-dbus.containers.web-01.service
# expects: a socket's path (/run/app.sock)
{
  services.operation-dbus.containers.web-01.service = "run/app.sock";
}
