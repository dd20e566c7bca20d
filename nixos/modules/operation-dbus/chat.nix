# The chat page and the MCP endpoint: whether they are served, and to whom.
{
  config,
  lib,
  options,
  ...
}:

let
  inherit (lib) mkOption types;

  cfg = config.services.operation-dbus;
  render = import ./render.nix { inherit lib options; };
  loopback = lib.hasPrefix "127." cfg.mcp.address || cfg.mcp.address == "::1";
in
{
  imports = [
    (lib.mkRenamedOptionModule
      [ "services" "operation-dbus" "openFirewall" ]
      [ "services" "operation-dbus" "mcp" "openFirewall" ]
    )
  ];

  options.services.operation-dbus = {
    mcp = {
      enable = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = ''
          Whether the chat page and the MCP endpoint are served. {command}`op-dbus chat open` prints a link that signs a
          browser in, {command}`op-dbus token create` makes a token for a program; without either nothing is answered.
        '';
      };
      port = mkOption {
        type = types.port;
        default = 8080;
        example = 8443;
        description = "The TCP port they listen on.";
      };
      address = mkOption {
        type = types.str;
        default = "127.0.0.1";
        example = "0.0.0.0";
        description = ''
          The address they listen on. One that other hosts reach needs {option}`services.operation-dbus.mcp.tls` or
          {option}`services.operation-dbus.mcp.proxy`.
        '';
      };
      hosts = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "ops.example.org" ];
        description = ''
          The names by which browsers and programs reach them, beside the address itself and localhost: a request for
          another one is refused.
        '';
      };
      tls = mkOption {
        type = types.nullOr (
          types.submodule {
            options = {
              certificate = mkOption {
                type = types.str;
                example = "/var/lib/acme/ops.example.org/fullchain.pem";
                description = "The certificate, and those that lead from it to a root, as PEM.";
              };
              key = mkOption {
                type = types.str;
                example = "/var/lib/acme/ops.example.org/key.pem";
                description = "Its key, as PEM. It is read by systemd, so that root alone need be able to.";
              };
            };
          }
        );
        default = null;
        example = {
          certificate = "/var/lib/acme/ops.example.org/fullchain.pem";
          key = "/var/lib/acme/ops.example.org/key.pem";
        };
        description = "The files for TLS, where no proxy does it.";
      };
      proxy = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = ''
          Whether a proxy is in front that does TLS and passes the `Host` that it was asked for. The first of
          {option}`services.operation-dbus.mcp.hosts` is then its name.
        '';
      };
      openFirewall = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = ''
          Whether the firewall of NixOS lets the port through, where the address is one that other hosts reach. Nobody is
          answered there without a token.
        '';
      };
      root = mkOption {
        type = types.nullOr types.path;
        default = null;
        example = "/srv/chat";
        description = "A directory whose files replace those of the page that have the same names.";
      };
    };
  };

  config = lib.mkIf cfg.enable {
    services.operation-dbus.settings.mcp = render "mcp" [
      "enable"
      "port"
      "address"
      "hosts"
      "tls"
      "proxy"
      "openFirewall"
      "root"
    ];

    users = lib.mkIf cfg.mcp.enable {
      users.opdbus-chat = {
        isSystemUser = true;
        group = "opdbus-chat";
      };
      groups.opdbus-chat = { };
    };
    systemd.sockets = lib.mkIf cfg.mcp.enable { mcp-chat.wantedBy = [ "sockets.target" ]; };
    networking.firewall.allowedTCPPorts =
      lib.mkIf (cfg.mcp.openFirewall && cfg.mcp.enable && !loopback)
        [
          cfg.mcp.port
        ];

    assertions = [
      {
        assertion = !cfg.mcp.enable || loopback || cfg.mcp.tls != null || cfg.mcp.proxy;
        message = ''
          services.operation-dbus.mcp.address is reached by other hosts, and what is said there could be read on the way.
          Set services.operation-dbus.mcp.tls, or services.operation-dbus.mcp.proxy where a proxy does it.
        '';
      }
      {
        assertion = !cfg.mcp.proxy || cfg.mcp.hosts != [ ];
        message = ''
          services.operation-dbus.mcp.proxy is set, and services.operation-dbus.mcp.hosts does not name the proxy. Give the
          name by which browsers reach it.
        '';
      }
      {
        assertion = !cfg.mcp.openFirewall || !loopback;
        message = ''
          services.operation-dbus.mcp.openFirewall has nothing to open for: the chat is reached by this host alone. Set
          services.operation-dbus.mcp.address, and tls or proxy beside it, or leave it false.
        '';
      }
    ];

    warnings = lib.optional (cfg.mcp.openFirewall && !cfg.mcp.enable) ''
      services.operation-dbus.mcp.openFirewall opens nothing: nothing of operation-dbus listens on the network. See
      services.operation-dbus.mcp.enable.
    '';
  };
}
