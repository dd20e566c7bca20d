# On machines of several sockets: where the daemon runs and has its memory.
{
  config,
  lib,
  ...
}:

let
  inherit (lib) mkOption types;

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
      type = types.strMatching "[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*";
      default = "";
      defaultText = lib.literalMD "must be given with {option}`services.operation-dbus.numa.enable`";
      example = "0-7";
      description = "The processors they run on, in the form of {manpage}`systemd.exec(5)`, `CPUAffinity=`.";
    };
  };

  config = lib.mkIf (cfg.enable && cfg.numa.enable) {
    systemd.services.opdbus.serviceConfig = placed;
    systemd.services.opdbus-apply.serviceConfig = placed;
  };
}
