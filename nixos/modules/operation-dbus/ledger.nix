# The ledger: where its signed checkpoints go.
{
  config,
  lib,
  ...
}:

let
  inherit (lib) mkOption types;
  ours = import ./types.nix { inherit lib; };

  cfg = config.services.operation-dbus;
in
{
  options.services.operation-dbus.ledger.checkpoints = mkOption {
    type = types.nullOr (
      types.submodule {
        options = {
          to = mkOption {
            type = ours.destination;
            example = "/mnt/vault/checkpoints";
            description = ''
              Where they go: `journal`, or the absolute path of a directory, best on another host. A directory must
              have been prepared while it was mounted: {command}`opdbus-ledger checkpoint --to DIR --first`.
            '';
          };
          every = mkOption {
            type = types.enum [
              "hourly"
              "daily"
              "weekly"
              "monthly"
            ];
            example = "daily";
            description = ''
              How often one is made: the first time that {command}`opdbus-checkpoint.timer` elapses in an
              hour, day, week (from Monday) or month, in UTC.
            '';
          };
        };
      }
    );
    default = null;
    example = {
      to = "journal";
      every = "hourly";
    };
    description = ''
      Signed checkpoints of the ledger that are made by themselves: kept where root of this host cannot change
      them, they tell a ledger that was cut short or rewritten. The key is made once, by
      {command}`opdbus-ledger key create`; until then {command}`opdbus-checkpoint.service` fails and says so.
    '';
  };

  config = lib.mkIf cfg.enable {
    services.operation-dbus.settings.ledger = cfg.ledger;
  };
}
