# expects: services.operation-dbus.mcp.port
# expects: between 0 and 65535
{
  services.operation-dbus.mcp.port = 70000;
}
