# expects: services.operation-dbus.mcp.hosts does not name the proxy
# expects: Give the name by which browsers reach it
{
  services.operation-dbus.mcp = {
    enable = true;
    proxy = true;
  };
}
