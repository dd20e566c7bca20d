# expects: services.operation-dbus.plugins."Resolved"
# expects: 1 to 32 of a-z, 0-9 and '-'
{
  services.operation-dbus.plugins.Resolved.introspection = "org.freedesktop.resolve1";
}
