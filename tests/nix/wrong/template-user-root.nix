# expects: services.operation-dbus.templates.web.user.name
# expects: not root
{
  services.operation-dbus.templates.web.user.name = "root";
}
