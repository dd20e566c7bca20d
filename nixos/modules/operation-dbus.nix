# operation-dbus: one host as declared infrastructure. The options render the host spec
# (/etc/opdbus/config.json); the package's own units put it into effect. What each section of the
# spec means is in ./operation-dbus, a file a section.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;

  cfg = config.services.operation-dbus;
  json = pkgs.formats.json { };

  # A null is a field that is left out.
  rendered = lib.filterAttrsRecursive (_: value: value != null) cfg.settings;
  written = json.generate "operation-dbus-config.json" rendered;

  # Options that had other names, as { from = [ "old" "name" ]; to = [ "new" "name" ]; }: a configuration goes on
  # working, and is told. There are none yet.
  renamed = [ ];
  under = lib.concat [
    "services"
    "operation-dbus"
  ];

  canCheck = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
  checked = pkgs.runCommand "operation-dbus-config.json" { } ''
    ${lib.getExe' cfg.package "op-dbus"} config check ${written}
    cp ${written} $out
  '';
in
{
  imports = [
    ./operation-dbus/storage.nix
    ./operation-dbus/network.nix
    ./operation-dbus/plugins.nix
    ./operation-dbus/snapshots.nix
    ./operation-dbus/ledger.nix
    ./operation-dbus/search.nix
    ./operation-dbus/chat.nix
    ./operation-dbus/templates.nix
    ./operation-dbus/containers.nix
    ./operation-dbus/numa.nix
    ./operation-dbus/planned.nix
    ./operation-dbus/units.nix
  ]
  ++ map ({ from, to }: lib.mkRenamedOptionModule (under from) (under to)) renamed;

  options.services.operation-dbus = {
    enable = lib.mkEnableOption ''
      operation-dbus: btrfs subvolumes, an Open vSwitch bridge with its flows, container templates
      that clone in milliseconds, unprivileged containers, and a ledger of every operation
    '';

    package = mkOption {
      type = types.package;
      default = pkgs.operation-dbus or (import ../.. { inherit pkgs; }).operation-dbus;
      defaultText = lib.literalExpression "pkgs.operation-dbus, or the one of this repository";
      example = lib.literalExpression "operation-dbus.packages.\${pkgs.stdenv.hostPlatform.system}.default";
      description = ''
        The programs. Their units come with them, so that programs and units are always of one
        version.
      '';
    };

    settings = mkOption {
      type = types.submodule { freeformType = json.type; };
      default = { };
      example = {
        ovs.subnet = "10.20.0.0/24";
      };
      description = ''
        The host spec, as `/etc/opdbus/config.json` will have it. The options beside this one
        fill it in, and know every field of this version; use it for a field that they do not
        know yet. A field set both here and by its option must have one value.
        {command}`op-dbus config schema` prints what the document may hold, and the document is
        checked by {command}`op-dbus config check` when the system is built.
      '';
    };

    checkConfig = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether the host spec is checked when the system is built. It is not where the programs
        cannot run on the building machine (cross compilation).
      '';
    };

    configFile = mkOption {
      type = types.path;
      readOnly = true;
      default = if cfg.checkConfig && canCheck then checked else written;
      defaultText = lib.literalMD "the rendered and checked host spec";
      description = "The host spec as a file.";
    };

    users = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "alice" ];
      description = ''
        Users who may operate this host: create, start, stop and delete containers, and read the
        ledger, with {command}`op-dbus` or over the API socket. They become members of the group
        `opdbus`, and are root inside every container, not on the host.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    assertions =
      map (user: {
        assertion = config.users.users ? ${user};
        message = ''
          services.operation-dbus.users names "${user}", and users.users has no such user.
          Declare users.users.${user}, or take the name out.
        '';
      }) cfg.users
      ++ [
        {
          # Nix looks at no value that nothing uses: what is wrong in a section that is off, or not built yet, would
          # be accepted.
          assertion = lib.deepSeq {
            inherit (cfg)
              defaultState
              mcp
              ml
              netmaker
              numa
              ;
          } true;
          message = "";
        }
      ];

    services.operation-dbus.settings.version = 1;

    environment.systemPackages = [ cfg.package ];
    environment.etc = {
      "opdbus/config.json".source = cfg.configFile;
      # What hints and the ledger's entries call this host.
      "opdbus/deployment-type".text = "nixos\n";
    };
    users.groups.opdbus.members = cfg.users;
  };

  meta.doc = null;
}
