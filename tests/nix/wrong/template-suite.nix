# expects: services.operation-dbus.templates.web.suite
# expects: stable or bookworm
{
  services.operation-dbus.templates.web.suite = "book worm";
}
