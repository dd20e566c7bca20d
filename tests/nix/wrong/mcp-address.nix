# expects: services.operation-dbus.mcp.address is reached by other hosts
# expects: services.operation-dbus.mcp.tls
{
  services.operation-dbus.mcp = {
    enable = true;
    address = "0.0.0.0";
  };
}
