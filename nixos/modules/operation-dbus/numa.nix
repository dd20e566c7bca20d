# On machines of several sockets: where the daemon runs and has its memory.
{
  config,
  lib,
  ...
}:

let
  inherit (lib) mkOption types;
  ours = import ./types.nix { inherit lib; };

  cfg = config.services.operation-dbus;
  placed = {
    CPUAffinity = cfg.numa.cpuList;
    NUMAPolicy = "bind";
    NUMAMask = toString cfg.numa.node;
  };
in
{
  options.services.operation-dbus.numa = {
    enable = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether the daemon and what builds templates are kept on one NUMA node.";
    };

    node = mkOption {
      type = types.ints.between 0 1023;
      default = 0;
      example = 1;
      description = "The node whose memory they use ({command}`numactl --hardware` lists them).";
    };

    cpuList = mkOption {
      type = types.nullOr ours.cpuList;
      default = null;
      example = "0-7";
      description = "The processors they run on, as `CPUAffinity=` of {manpage}`systemd.exec(5)` takes them.";
    };
  };

  config = lib.mkIf (cfg.enable && cfg.numa.enable) {
    assertions = [
      {
        assertion = cfg.numa.cpuList != null;
        message = ''
          services.operation-dbus.numa.enable is true, and services.operation-dbus.numa.cpuList is not set. Name the
          processors of the node, such as "0-7" (lscpu lists them).
        '';
      }
    ];
    systemd.services.opdbus.serviceConfig = placed;
    systemd.services.opdbus-apply.serviceConfig = placed;
  };
}
