# Container templates: root file systems without identity, from which containers are cloned.
{
  config,
  lib,
  ...
}:

let
  inherit (lib) mkOption types;
  ours = import ./types.nix { inherit lib; };

  cfg = config.services.operation-dbus;

  user = types.submodule {
    options = {
      name = mkOption {
        type = ours.word "login name of a-z, 0-9, '_' and '-'" "admin" "_";
        example = "admin";
        description = "The login name; not root, who is always there and has no password.";
      };
      sshKeys = mkOption {
        type = types.listOf types.singleLineStr;
        default = [ ];
        example = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample alice@laptop" ];
        description = "Public keys that may log in. There is no password either way.";
      };
      sudo = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether the user may become root by sudo without a password (where sudo is installed).";
      };
    };
  };

  template = types.submodule {
    options = {
      distribution = mkOption {
        type = types.enum [
          "debian"
          "ubuntu"
          "alpine"
        ];
        default = "debian";
        example = "alpine";
        description = ''
          What it is made of. Alpine's mini root file system comes over https; Ubuntu needs its keys
          (`OPDBUS_UBUNTU_KEYRING`).
        '';
      };
      suite = mkOption {
        type = ours.word "release" "stable or bookworm" ".";
        default = "stable";
        example = "trixie";
        description = ''
          The release: of Debian a code name or `stable`, of Ubuntu a code name, of Alpine a number, `edge` or `stable`.
          The one that `stable` meant is recorded in the template when it is built.
        '';
      };
      mirror = mkOption {
        type = types.nullOr (types.strMatching "(https?|file)://[^[:space:]]+");
        default = null;
        example = "https://mirror.example.org/debian";
        description = "Where packages come from; the distribution's own mirror where none is given.";
      };
      rootfs = mkOption {
        type = types.nullOr types.path;
        default = null;
        example = "/srv/images/debian-12.tar.zst";
        description = ''
          A tarball of a root file system to use instead of a mirror; of Alpine the mini root file system, to which
          packages are added from the mirror.
        '';
      };
      packages = mkOption {
        type = types.listOf (ours.word "name of a package" "nginx" "+.:");
        default = [ ];
        example = [ "nginx" ];
        description = "Packages of the distribution to have beside the base system.";
      };
      user = mkOption {
        type = types.nullOr user;
        default = null;
        example = {
          name = "admin";
          sshKeys = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample alice@laptop" ];
        };
        description = "The user that is there from the start, beside root.";
      };
      timeZone = mkOption {
        type = ours.word "time zone" "Europe/Berlin" "/_+";
        default = "Etc/UTC";
        example = "Europe/Berlin";
        description = "The time zone, as a name of the tz database.";
      };
      locale = mkOption {
        type = ours.word "locale" "C.UTF-8 or de_DE.UTF-8" "_.@";
        default = "C.UTF-8";
        example = "de_DE.UTF-8";
        description = "The locale. C.UTF-8 is the one that needs no generating.";
      };
      keep = mkOption {
        type = types.ints.between 0 100;
        default = 2;
        example = 5;
        description = "How many earlier generations stay when it is refreshed, for {command}`op-dbus template rollback`.";
      };
    };
  };

  isLogin = name: builtins.match "[a-z_][a-z0-9_-]{0,31}" name != null && name != "root";
in
{
  options.services.operation-dbus.templates = mkOption {
    type = types.attrsOf template;
    default = {
      debian-base = { };
    };
    example = {
      debian-base = { };
      web = {
        suite = "bookworm";
        packages = [ "nginx" ];
      };
    };
    description = ''
      Container templates. What is given here replaces the default, so name `debian-base` again if
      it is wanted beside others. A template is built once, when it is missing; to build it anew:
      {command}`op-dbus template refresh NAME`, and to go back: {command}`op-dbus template rollback NAME`. Containers that were cloned from it are never
      touched, and a template that is taken out stays on disk.
    '';
  };

  config = lib.mkIf cfg.enable {
    services.operation-dbus.settings.templates = lib.mapAttrs (
      _: declared:
      declared
      // {
        # A path literal is copied into the store; a string stays as it is.
        rootfs = lib.mapNullable (path: "${path}") declared.rootfs;
      }
    ) cfg.templates;

    assertions = lib.concatLists (
      lib.mapAttrsToList (name: declared: [
        {
          assertion = ours.isName name;
          message = ''
            services.operation-dbus.templates."${name}": that is no name for a template. Use ${ours.nameRule}.
          '';
        }
        {
          assertion = declared.user == null || isLogin declared.user.name;
          message = ''
            services.operation-dbus.templates.${name}.user.name is "${declared.user.name}". A login name is 1 to 32 of
            a-z, 0-9, '_' and '-', and not root, who is always there.
          '';
        }
      ]) cfg.templates
    );
  };
}
