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

    ml = {
      enable = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether the ledger's entries are embedded for search by meaning. Not part of this version.";
      };
      executionProvider = mkOption {
        type = types.enum [
          "cpu"
          "cuda"
        ];
        default = "cpu";
        example = "cuda";
        description = "What computes the embeddings.";
      };
      numThreads = mkOption {
        type = types.ints.between 1 1024;
        default = 1;
        example = 8;
        description = "The threads that compute them.";
      };
    };

    mcp = {
      enable = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether the chat page and the MCP endpoint are served. Not part of this version.";
      };
      port = mkOption {
        type = types.port;
        default = 8080;
        example = 8080;
        description = "The TCP port they listen on, on loopback.";
      };
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether the port of {option}`services.operation-dbus.mcp.port` is opened to the network. Nothing
        listens there in this version, so nothing is opened.
      '';
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
      ''
      ++ lib.optional cfg.ml.enable ''
        services.operation-dbus.ml.enable does nothing yet: search by meaning is not part of this version.
      ''
      ++ lib.optional cfg.mcp.enable ''
        services.operation-dbus.mcp.enable does nothing yet: chat and MCP are not part of this version.
      ''
      ++ lib.optional cfg.openFirewall ''
        services.operation-dbus.openFirewall opens nothing: nothing of operation-dbus listens on the network in this version.
      '';
  };
}
