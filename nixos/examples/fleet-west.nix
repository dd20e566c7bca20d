# One of a fleet of two: what both are is in ./fleet, what this one has is here.
{
  imports = [ ./fleet ];

  networking.hostName = "west";
  services.operation-dbus = {
    ovs.subnet = "10.30.2.0/24";
    # Its disk is not btrfs: the data lives in an image.
    btrfs.image.size = "40G";
    # What its ledger's entries mean is kept with that of others, on a server.
    ml = {
      enable = true;
      qdrant = {
        url = "https://10.30.0.9:6334";
        apiKeyFile = "/etc/secrets/qdrant-api-key";
      };
    };
    containers.build-01 = {
      nesting = true;
      limits = {
        cores = 8;
        memory = 16384;
      };
    };
  };

  fileSystems."/".fsType = "ext4";
}
