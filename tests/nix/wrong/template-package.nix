# expects: services.operation-dbus.templates.web.packages
# expects: name of a package
{
  services.operation-dbus.templates.web.packages = [ "--allow-unauthenticated" ];
}
