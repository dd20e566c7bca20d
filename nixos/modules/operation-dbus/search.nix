# Search over the ledger: whether it knows what is meant, and what computes that.
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
  };

  config = lib.mkIf cfg.enable {
    services.operation-dbus.settings.ml = render "ml" [
      "enable"
      "executionProvider"
      "numThreads"
      "model"
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
