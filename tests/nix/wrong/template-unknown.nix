# expects: services.operation-dbus.containers.web-01.template
# expects: services.operation-dbus.templates.web
# expects: debian-base
{
  services.operation-dbus.containers.web-01.template = "web";
}
