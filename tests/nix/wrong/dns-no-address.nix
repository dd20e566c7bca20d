# expects: services.operation-dbus.ovs.dns
# expects: IP address, such as 9.9.9.9
{
  services.operation-dbus.ovs.dns = [ "dns.example.org" ];
}
