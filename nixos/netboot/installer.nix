# The installer: a layout that is declared, and the program that puts it on a disk (./opdbus-netboot-install.sh).
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;

  cfg = config.operation-dbus.installer;
  layout = cfg.layout;

  mountPoints = lib.attrValues layout.subvolumes;
  at = lib.concatStringsSep ", ";

  # What nixos-generate-config does not find out of itself.
  installed = pkgs.writeText "installed.nix" ''
    # What the installer decided.
    { lib, ... }:

    {
      boot.loader.systemd-boot.enable = true;
      # The firmware's order of boot is yours to change; it finds the boot loader at its usual place.
      boot.loader.efi.canTouchEfiVariables = false;

      fileSystems = lib.genAttrs ${lib.generators.toPretty { multiline = false; } mountPoints} (_: {
        options = ${lib.generators.toPretty { multiline = false; } layout.mountOptions};
      });

      system.stateVersion = "${config.system.nixos.release}";
    }
  '';

  # /etc/nixos of the installed system, but for what nixos-generate-config writes.
  files = pkgs.linkFarm "operation-dbus-etc-nixos" {
    "configuration.nix" = cfg.configuration;
    "installed.nix" = installed;
    "operation-dbus" = cfg.source;
  };

  program = pkgs.writeShellApplication {
    name = "opdbus-netboot-install";
    runtimeInputs = [
      pkgs.btrfs-progs
      pkgs.coreutils
      pkgs.dosfstools
      pkgs.gawk
      pkgs.gnugrep
      pkgs.gnused
      pkgs.jq
      pkgs.util-linux
      config.system.build.nixos-generate-config
      config.system.build.nixos-install
      config.systemd.package
    ];
    runtimeEnv = {
      OPDBUS_LAYOUT = (pkgs.formats.json { }).generate "layout.json" layout;
      OPDBUS_FILES = files;
    };
    text = builtins.readFile ./opdbus-netboot-install.sh;
  };
in
{
  # NixOS as this image was made from, for nixos-install.
  imports = [ (modulesPath + "/installer/cd-dvd/channel.nix") ];

  options.operation-dbus.installer = {
    layout = {
      disk = mkOption {
        type = types.nullOr (types.strMatching "/dev/[^[:space:]]+");
        default = null;
        example = "/dev/disk/by-path/pci-0000:01:00.0-nvme-1";
        description = ''
          The only disk that may be installed on, best by a name that stays (`/dev/disk/by-id`,
          `/dev/disk/by-path`). Where none is declared, the program's argument names it.
        '';
      };
      espSize = mkOption {
        type = types.strMatching "[1-9][0-9]*[MG]";
        default = "1G";
        example = "512M";
        description = "Size of the EFI system partition, which holds kernels and initrds; btrfs has the rest.";
      };
      label = mkOption {
        type = types.strMatching "[A-Za-z0-9_-]{1,32}";
        default = "nixos";
        example = "host-01";
        description = "Label of the btrfs file system.";
      };
      subvolumes = mkOption {
        type = types.attrsOf (types.strMatching "/|(/[A-Za-z0-9_.-]+)+");
        default = {
          "@" = "/";
          "@home" = "/home";
          "@nix" = "/nix";
          "@op-dbus" = "/var/lib/op-dbus";
        };
        example = {
          "@" = "/";
          "@op-dbus" = "/var/lib/op-dbus";
        };
        description = ''
          Subvolumes, and where each is mounted. What is given here replaces the default. A snapshot of
          one does not hold the others, so that going back with `/` leaves containers as they are.
        '';
      };
      mountOptions = mkOption {
        type = types.listOf (types.strMatching "[A-Za-z0-9_.:=-]+");
        default = [
          "compress=zstd:3"
          "noatime"
        ];
        example = [ "compress=zstd:1" ];
        description = "Mount options of the subvolumes.";
      };
    };

    configuration = mkOption {
      type = types.path;
      default = ./configuration.nix;
      defaultText = lib.literalMD "operation-dbus with all as it comes";
      example = lib.literalExpression "./host-01.nix";
      description = "What becomes {file}`/etc/nixos/configuration.nix`. It imports the files beside it.";
    };

    source = mkOption {
      type = types.path;
      default = lib.cleanSource ../..;
      defaultText = lib.literalMD "this repository, as the image was made from";
      description = "What becomes {file}`/etc/nixos/operation-dbus`.";
    };
  };

  config = {
    assertions = [
      {
        assertion = lib.count (mountPoint: mountPoint == "/") mountPoints == 1;
        message = ''
          operation-dbus.installer.layout.subvolumes has ${
            if lib.elem "/" mountPoints then "more than one subvolume" else "no subvolume"
          } for /. Name one: "@" = "/".
        '';
      }
      {
        assertion = lib.allUnique mountPoints;
        message = ''
          operation-dbus.installer.layout.subvolumes mounts two subvolumes at one place: ${at mountPoints}.
        '';
      }
      {
        assertion = !(lib.any (place: place == "/boot" || lib.hasPrefix "/boot/" place) mountPoints);
        message = ''
          operation-dbus.installer.layout.subvolumes has something at /boot, where the EFI system partition is
          mounted. Take it out.
        '';
      }
    ]
    ++ map (name: {
      assertion = builtins.match "[A-Za-z0-9@_.-]+" name != null;
      message = ''
        operation-dbus.installer.layout.subvolumes."${name}": that is no name for a subvolume. Use letters, digits,
        '@', '_', '.' and '-'.
      '';
    }) (lib.attrNames layout.subvolumes);

    environment.systemPackages = [ program ];

    # In the image, so that it is not built again on the machine.
    system.extraDependencies = [ config.services.operation-dbus.package ];

    boot.supportedFilesystems.btrfs = true;

    services.getty.helpLine = ''
      `opdbus-netboot-install --dry-run` shows the disks, and what would be done.
      `opdbus-netboot-install DISK` does it, after you have confirmed it.
    '';
  };
}
