# Snapshots that are taken by themselves.
{
  config,
  lib,
  ...
}:

let
  inherit (lib) mkOption types;
  ours = import ./types.nix { inherit lib; };

  cfg = config.services.operation-dbus;
  spec = cfg.settings;

  count =
    what: default:
    mkOption {
      type = types.ints.between 0 1000;
      inherit default;
      example = default;
      description = "${what}, this many.";
    };

  policy = types.submodule {
    options = {
      schedule = mkOption {
        type = types.enum [
          "hourly"
          "daily"
          "weekly"
          "monthly"
        ];
        example = "daily";
        description = ''
          How often one is taken: the first time that {command}`opdbus-snapshots.timer` elapses in an
          hour, day, week (from Monday) or month, in UTC.
        '';
      };
      keep = {
        last = count "The newest" 2;
        hourly = count "The newest of each hour in which there are any" 24;
        daily = count "The newest of each day" 7;
        weekly = count "The newest of each week" 4;
        monthly = count "The newest of each month" 6;
      };
    };
  };

  holders = [
    "@plugins"
    "@templates"
    "@snapshots"
  ];
  isSubject =
    subject:
    let
      parts = lib.splitString "/" subject;
      kind = lib.head parts;
    in
    if lib.length parts == 2 then
      lib.elem kind [
        "@plugins"
        "container"
      ]
      && ours.isName (lib.last parts)
    else
      lib.elem subject spec.btrfs.subvolumes && !(lib.elem subject holders);
in
{
  options.services.operation-dbus.snapshots = mkOption {
    type = types.attrsOf policy;
    default = { };
    example = {
      "@state".schedule = "daily";
      "container/web-01" = {
        schedule = "hourly";
        keep.hourly = 48;
      };
    };
    description = ''
      Snapshots that are taken by themselves, by what they are of: a subvolume of
      {option}`services.operation-dbus.btrfs.subvolumes` (`@state`), a plugin (`@plugins/lxc`) or a
      container (`container/web-01`). What any rule of `keep` keeps is kept, and the newest always. One
      taken by hand, or marked as kept ({command}`op-dbus snapshot keep`), is never removed.
    '';
  };

  config = lib.mkIf cfg.enable {
    services.operation-dbus.settings.snapshots = cfg.snapshots;

    assertions = map (subject: {
      assertion = isSubject subject;
      message = ''
        services.operation-dbus.snapshots."${subject}": no snapshots are taken of that. Write a subvolume of
        services.operation-dbus.btrfs.subvolumes (but @plugins, @templates and @snapshots, which hold others),
        "@plugins/NAME" or "container/NAME".
      '';
    }) (lib.attrNames cfg.settings.snapshots);
  };
}
