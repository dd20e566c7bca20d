# /etc/nixos/configuration.nix
{
  imports = [ ./operation-dbus/nixos/modules/operation-dbus.nix ];

  services.operation-dbus = {
    enable = true;

    btrfs = {
      enable = true;
      basePath = "/var/lib/op-dbus";
      compressionLevel = 3;
      subvolumes = [ "@cache" "@timing" "@vectors" "@state" "@snapshots" "@plugins" "@templates" ];
    };

    numa = {
      enable = true;  # For multi-socket systems
      node = 0;
      cpuList = "0-7";
    };

    ml = {
      enable = true;
      executionProvider = "cuda";  # or "cpu"
      numThreads = 8;
    };

    netmaker = {
      enable = true;
      joinKey = "your-netmaker-join-key";
    };

    mcp = {
      enable = true;
      port = 8080;
    };

    defaultState = {
      version = "1.0";
      plugins = {};
    };
  };
}
