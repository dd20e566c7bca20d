# The Open vSwitch bridge, the containers' subnet, and the way out. The bridge and its flows are the
# programs': `virtualisation.vswitch` and `networking.vswitches` would delete and re-add it.
{
  config,
  lib,
  options,
  ...
}:

let
  inherit (lib) mkOption types;
  ours = import ./types.nix { inherit lib; };
  render = import ./render.nix { inherit lib options; };

  cfg = config.services.operation-dbus;
  ovs = cfg.settings.ovs;
  hostPorts = [
    ovs.bridge
    "veth-socket"
    "veth-mesh"
  ];
in
{
  options.services.operation-dbus.ovs = {
    bridge = mkOption {
      type = ours.interface;
      default = "ovsbr0";
      example = "br-containers";
      description = "The bridge. An existing bridge of that name that operation-dbus did not make is refused.";
    };

    datapath = mkOption {
      type = types.enum [
        "auto"
        "kernel"
        "userspace"
      ];
      default = "auto";
      example = "kernel";
      description = ''
        Which datapath carries the packets: the kernel's, the userspace one (slower, for kernels
        without the openvswitch module), or the kernel's where it is there.
      '';
    };

    subnet = mkOption {
      type = ours.subnet;
      default = "10.0.0.0/24";
      example = "10.20.0.0/24";
      description = ''
        The containers' subnet. Its first address is the gateway, on the host's port `veth-socket`.
        It must not overlap a network that the host has already.
      '';
    };

    nat = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether containers reach the outside by network address translation (nftables, in tables of
        operation-dbus' own). It turns IPv4 forwarding on.
      '';
    };

    hostAccess = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether containers may open connections to the host itself. The NixOS firewall then trusts
        `veth-socket`, the host's port on the bridge.
      '';
    };

    dns = mkOption {
      type = types.listOf ours.anyAddress;
      default = [ ];
      example = [ "9.9.9.9" ];
      description = "Name servers written into new containers; those of the host where none is given.";
    };

    uplink = mkOption {
      type = types.nullOr ours.interface;
      default = null;
      example = "enp3s0";
      description = ''
        The network card that is a port of the bridge, so that the host's own addresses are on the
        bridge. It is written into the host spec, and `op-dbus doctor` and `op-dbus bridge uplink`
        know it; on NixOS nothing is moved by it, as the network's configuration is declared: give the
        bridge the card's addresses with `systemd.network`, and see docs/nixos.md.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    services.operation-dbus.settings.ovs = render "ovs" [
      "bridge"
      "datapath"
      "subnet"
      "nat"
      "hostAccess"
      "uplink"
      "dns"
    ];

    assertions = [
      {
        assertion = cfg.ovs.uplink != ovs.bridge;
        message = ''
          services.operation-dbus.ovs.uplink is ${ovs.bridge}, the bridge itself. Name the network interface that
          leads outside, such as enp3s0, or give services.operation-dbus.ovs.bridge another name.
        '';
      }
      {
        assertion = !(config.networking.vswitches ? ${ovs.bridge});
        message = ''
          networking.vswitches.${ovs.bridge} and services.operation-dbus.ovs.bridge are one bridge, and NixOS deletes
          and re-adds those of networking.vswitches, flows and ports with them. Rename one of the two.
        '';
      }
      {
        assertion = !config.networking.nftables.enable || !config.networking.nftables.flushRuleset;
        message = ''
          networking.nftables.flushRuleset deletes the tables of services.operation-dbus (address translation,
          packet filter) at every reload of the firewall. Set it to false.
        '';
      }
    ];
    warnings = lib.optional (cfg.ovs.uplink != null) ''
      services.operation-dbus.ovs.uplink is declared, and moves nothing on NixOS: containers reach the
      outside by address translation (services.operation-dbus.ovs.nat).
    '';

    virtualisation.vswitch.enable = true;

    # As networking.nat does it, so that a rebuild does not turn it off again.
    boot.kernel.sysctl = lib.mkIf ovs.nat { "net.ipv4.conf.all.forwarding" = lib.mkOverride 99 true; };

    networking = {
      firewall = {
        trustedInterfaces = lib.mkIf ovs.hostAccess [ "veth-socket" ];
        # The programs' own tables decide about containers; a firewall that filters what is
        # forwarded must let that through.
        extraForwardRules = lib.mkIf (config.networking.firewall.filterForward && ovs.nat) ''
          iifname "veth-socket" accept
        '';
      };
      # No address for the bridge's ports but ours.
      dhcpcd.denyInterfaces = hostPorts ++ [ "oc-*" ];
      networkmanager.unmanaged = map (port: "interface-name:${port}") (hostPorts ++ [ "oc-*" ]);
    };
  };
}
