# expects: services.operation-dbus.templates.web.distribution
# expects: "debian"
{
  services.operation-dbus.templates.web.distribution = "fedora";
}
