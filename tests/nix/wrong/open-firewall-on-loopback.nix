# expects: services.operation-dbus.mcp.openFirewall has nothing to open for
# expects: services.operation-dbus.mcp.address
{
  services.operation-dbus = {
    mcp.enable = true;
    openFirewall = true;
  };
}
