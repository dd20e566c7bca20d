# expects: services.operation-dbus.templates.web.mirror
# expects: https
{
  services.operation-dbus.templates.web.mirror = "ftp.debian.org/debian";
}
