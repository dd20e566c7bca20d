# What is asked for and not built yet. Its options are there, so that a configuration written for the
# whole evaluates; each says that it does nothing, and none is ignored in silence.
{
  config,
  lib,
  ...
}:

let
  inherit (lib) mkOption types;

  cfg = config.services.operation-dbus;

  isSecretFile =
    file: lib.isString file && lib.hasPrefix "/" file && !(lib.hasPrefix builtins.storeDir file);
  looksLikeFile = key: lib.isPath key || (lib.isString key && lib.hasPrefix "/" key);
in
{
  options.services.operation-dbus = {
    netmaker = {
      enable = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether this host joins a Netmaker mesh. Not part of this version.";
      };
      joinKey = mkOption {
        type = types.nullOr (types.either types.str types.path);
        default = null;
        example = "your-netmaker-join-key";
        description = ''
          The enrolment key itself. Everybody on the host can read what is written into a NixOS
          configuration, in the Nix store: use {option}`services.operation-dbus.netmaker.joinKeyFile`.
        '';
      };
      joinKeyFile = mkOption {
        type = types.nullOr (types.either types.str types.path);
        default = null;
        example = "/etc/secrets/netmaker-join-key";
        description = ''
          A file with the enrolment key, readable by root alone, outside the Nix store (a quoted path,
          not a path literal, which Nix would copy into the store).
        '';
      };
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = !(looksLikeFile cfg.netmaker.joinKey);
        message = ''
          services.operation-dbus.netmaker.joinKey is a path, and wants the key itself. Set
          services.operation-dbus.netmaker.joinKeyFile = "/etc/secrets/netmaker-join-key"; instead.
        '';
      }
      {
        assertion = cfg.netmaker.joinKeyFile == null || isSecretFile cfg.netmaker.joinKeyFile;
        message = ''
          services.operation-dbus.netmaker.joinKeyFile is not an absolute path outside the Nix store, where everybody
          could read it. Write it in quotes, as "/etc/secrets/netmaker-join-key", so that Nix does not copy it.
        '';
      }
      {
        assertion = cfg.netmaker.joinKey == null || cfg.netmaker.joinKeyFile == null;
        message = ''
          services.operation-dbus.netmaker.joinKey and joinKeyFile are both set. Keep joinKeyFile.
        '';
      }
    ];

    warnings =
      lib.optional cfg.netmaker.enable ''
        services.operation-dbus.netmaker.enable does nothing yet: the mesh is not part of this version.
      ''
      ++ lib.optional (cfg.netmaker.joinKey != null) ''
        services.operation-dbus.netmaker.joinKey is readable by everybody wherever this configuration goes, the Nix store
        included. Put the key into a file of root's and set services.operation-dbus.netmaker.joinKeyFile.
      ''
      ++ lib.optional (cfg.netmaker.joinKeyFile != null && !cfg.netmaker.enable) ''
        services.operation-dbus.netmaker.joinKeyFile is set, and services.operation-dbus.netmaker.enable is not.
      '';
  };
}
