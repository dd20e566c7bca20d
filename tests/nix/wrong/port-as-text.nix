# expects: services.operation-dbus.mcp.port
# expects: integer
{
  services.operation-dbus.mcp.port = "8080";
}
