# Search over the ledger: whether it knows what is meant, what computes that, and where its vectors are.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;

  cfg = config.services.operation-dbus;
  render = import ./render.nix { inherit lib options; };
  isSecretFile =
    file: lib.isString file && lib.hasPrefix "/" file && !(lib.hasPrefix builtins.storeDir file);
in
{
  options.services.operation-dbus.ml = {
    enable = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether the ledger's entries are embedded, so that {command}`op-dbus search` finds them by what they mean and
        not by their words alone. The model (91 MB) becomes part of the system; it takes about 150 MB of memory while it
        works, and none when nobody has asked for a minute.
      '';
    };
    executionProvider = mkOption {
      type = types.enum [
        "cpu"
        "cuda"
      ];
      default = "cpu";
      example = "cuda";
      description = ''
        What computes the embeddings. `cuda` is an NVIDIA GPU, and wants programs that were built for it
        (the Cargo feature `cuda`), which those of this flake are not; with others nothing is embedded, and the search says
        why.
      '';
    };
    numThreads = mkOption {
      type = types.ints.between 1 1024;
      default = 1;
      example = 8;
      description = "The threads that compute them.";
    };
    model = mkOption {
      type = types.nullOr types.path;
      default = if cfg.ml.enable then "${pkgs.callPackage ../../model.nix { }}" else null;
      defaultText = lib.literalMD "the files of all-MiniLM-L6-v2, fetched from where its authors publish them";
      example = "/srv/models/all-MiniLM-L6-v2";
      description = "A directory with the model's files. Wherever they come from, the programs hold them to their sums.";
    };
    qdrant = mkOption {
      type = types.nullOr (
        types.submodule {
          options = {
            url = mkOption {
              type = types.strMatching "https?://[^/@?#[:space:]]+/?";
              example = "https://qdrant.example.org:6334";
              description = ''
                Where it answers by gRPC. What goes over `http` is read and changed by whoever is on the way.
              '';
            };
            collection = mkOption {
              type = types.str;
              default = "operation-dbus";
              example = "fleet";
              description = "The collection. It is made where there is none.";
            };
            apiKeyFile = mkOption {
              type = types.nullOr (types.either types.str types.path);
              default = null;
              example = "/etc/secrets/qdrant-api-key";
              description = ''
                A file with the API key, readable by root alone, outside the Nix store (a quoted path, not a path literal,
                which Nix would copy into the store). Over `http` a key is sent to this host alone.
              '';
            };
          };
        }
      );
      default = null;
      example = {
        url = "https://qdrant.example.org:6334";
        apiKeyFile = "/etc/secrets/qdrant-api-key";
      };
      description = ''
        The Qdrant server that has the vectors of this host's entries, with those of others in one collection; each host
        looks among its own alone. What is sent is a vector for each entry of the ledger, its number, its time, its
        operation, its caller and how it ended; its words, and the search by words, stay here. With `null` the vectors are
        in this host's own index.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    services.operation-dbus.settings.ml = render "ml" [
      "enable"
      "executionProvider"
      "numThreads"
      "model"
      "qdrant"
    ];

    assertions = [
      {
        assertion =
          cfg.ml.qdrant == null || cfg.ml.qdrant.apiKeyFile == null || isSecretFile cfg.ml.qdrant.apiKeyFile;
        message = ''
          services.operation-dbus.ml.qdrant.apiKeyFile is not an absolute path outside the Nix store, where everybody could
          read the key. Write a quoted path, such as "/etc/secrets/qdrant-api-key".
        '';
      }
    ];

    systemd.services = lib.mkIf (cfg.ml.enable && cfg.ml.executionProvider == "cuda") {
      opdbus-search.serviceConfig = {
        PrivateDevices = lib.mkForce false;
        DevicePolicy = "closed";
        DeviceAllow = [
          "char-nvidia rw"
          "char-nvidia-uvm rw"
        ];
      };
    };

    warnings = lib.optional (cfg.ml.enable && cfg.ml.executionProvider == "cuda") ''
      services.operation-dbus.ml.executionProvider is "cuda": with a services.operation-dbus.package that was not built with
      the Cargo feature cuda, as that of this repository, nothing is embedded, and the search is one of words.
    '';
  };
}
