# One of a fleet of two: what both are is in ./fleet, what this one has is here.
{
  imports = [ ./fleet ];

  networking.hostName = "east";
  services.operation-dbus = {
    ovs.subnet = "10.30.1.0/24";
    containers = {
      cache-01.service = 6379;
      web-01.connect = [ "cache-01" ];
    };
  };
}
