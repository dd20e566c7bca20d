# Plugins: a subvolume each below @plugins.
{
  config,
  lib,
  ...
}:

let
  inherit (lib) mkOption types;
  ours = import ./types.nix { inherit lib; };

  cfg = config.services.operation-dbus;

  plugin = types.submodule {
    options = {
      introspection = mkOption {
        type = types.str;
        example = "org.freedesktop.systemd1";
        description = ''
          The bus name the plugin is discovered by, or the back end of operation-dbus that serves it
          (`opdbus:lxc`, `opdbus:ovs`, `opdbus:netmaker`) where the subject has no bus name.
        '';
      };
      capabilities = mkOption {
        type = types.listOf (
          types.enum [
            "read"
            "write"
          ]
        );
        default = [
          "read"
          "write"
        ];
        example = [ "read" ];
        description = "What may be asked of it.";
      };
    };
  };
in
{
  options.services.operation-dbus = {
    plugins = mkOption {
      type = types.attrsOf plugin;
      default = { };
      example = {
        resolved = {
          introspection = "org.freedesktop.resolve1";
          capabilities = [ "read" ];
        };
      };
      description = ''
        Plugins beside lxc, netmaker, ovs and systemd, which every host has. One that is taken out
        keeps its subvolume.
      '';
    };

    defaultState = {
      version = mkOption {
        type = types.enum [ "1.0" ];
        default = "1.0";
        example = "1.0";
        description = "The version of the form of {option}`services.operation-dbus.defaultState`.";
      };
      plugins = mkOption {
        type = types.attrsOf plugin;
        default = { };
        example = {
          resolved.introspection = "org.freedesktop.resolve1";
        };
        description = ''
          Plugins that a host begins with; where {option}`services.operation-dbus.plugins` has the
          same name, that one holds.
        '';
      };
    };
  };

  config = lib.mkIf cfg.enable {
    services.operation-dbus.settings.plugins = cfg.defaultState.plugins // cfg.plugins;

    assertions = map (name: {
      assertion = ours.isName name;
      message = ''
        services.operation-dbus.plugins."${name}": that is no name for a plugin. Use ${ours.nameRule}.
      '';
    }) (lib.attrNames cfg.settings.plugins);
  };
}
