# expects: services.operation-dbus.plugins.resolved.capabilities
# expects: "write"
{
  services.operation-dbus.plugins.resolved = {
    introspection = "org.freedesktop.resolve1";
    capabilities = [ "execute" ];
  };
}
