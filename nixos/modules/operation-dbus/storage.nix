# Where the data lives: btrfs subvolumes, on a file system of the admin's or in an image.
{
  config,
  lib,
  options,
  utils,
  ...
}:

let
  inherit (lib) mkOption types;
  ours = import ./types.nix { inherit lib; };
  render = import ./render.nix { inherit lib options; };

  cfg = config.services.operation-dbus;
  storage = cfg.settings.btrfs;
  image = storage.image or null;

  required = [
    "@cache"
    "@timing"
    "@vectors"
    "@state"
    "@snapshots"
    "@plugins"
    "@templates"
  ];
  missing = lib.subtractLists storage.subvolumes required;

  # The declared file system that holds the base path: the one mounted deepest above it.
  holds =
    mountPoint:
    mountPoint == "/"
    || mountPoint == storage.basePath
    || lib.hasPrefix "${mountPoint}/" "${storage.basePath}/";
  holders = lib.filter (fs: holds fs.mountPoint) (lib.attrValues config.fileSystems);
  deepest = lib.foldl' (
    best: fs:
    if best == null || lib.stringLength fs.mountPoint > lib.stringLength best.mountPoint then
      fs
    else
      best
  ) null holders;
in
{
  options.services.operation-dbus.btrfs = {
    enable = mkOption {
      type = types.bool;
      default = true;
      example = true;
      description = ''
        Whether the data is kept in btrfs subvolumes. It always is: templates are cloned by
        snapshots, so without btrfs there is nothing to manage. Turn the whole module off
        ({option}`services.operation-dbus.enable`) instead.
      '';
    };

    basePath = mkOption {
      type = ours.plainPath;
      default = "/var/lib/op-dbus";
      example = "/srv/op-dbus";
      description = ''
        The directory that holds everything: subvolumes, containers, the ledger. It must lie on
        btrfs, or be given an {option}`services.operation-dbus.btrfs.image`.
      '';
    };

    compressionLevel = mkOption {
      type = types.ints.between 1 15;
      default = 3;
      example = 1;
      description = ''
        The zstd level of a file system that operation-dbus mounts itself
        ({option}`services.operation-dbus.btrfs.image`). btrfs has one level for each file system,
        that of its first mount: on one of yours it is the level in its
        {option}`fileSystems.<name>.options` (`compress=zstd:3`), and each subvolume only gets the
        property that asks for zstd.
      '';
    };

    subvolumes = mkOption {
      type = types.listOf ours.subvolume;
      default = required;
      example = required ++ [ "@backups" ];
      description = ''
        The subvolumes below {option}`services.operation-dbus.btrfs.basePath`. The seven defaults
        must be among them. One that is taken out of the list stays where it is.
      '';
    };

    image = mkOption {
      type = types.nullOr (
        types.submodule {
          options = {
            path = mkOption {
              type = ours.plainPath;
              default = "/var/lib/op-dbus.btrfs";
              example = "/srv/op-dbus.btrfs";
              description = "The file. It is made sparse: it takes from the disk only what is written.";
            };
            size = mkOption {
              type = ours.size;
              example = "20G";
              description = "Its size when it is made. An existing image is never resized.";
            };
          };
        }
      );
      default = null;
      example = {
        size = "20G";
      };
      description = ''
        A file with a btrfs file system, mounted at
        {option}`services.operation-dbus.btrfs.basePath`: the way out where the disk is not btrfs.
      '';
    };
  };

  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      {
        services.operation-dbus.settings.btrfs = render "btrfs" [
          "basePath"
          "compressionLevel"
          "subvolumes"
          "image"
        ];

        assertions = [
          {
            assertion = cfg.btrfs.enable;
            message = ''
              services.operation-dbus.btrfs.enable is false, and containers, templates and the ledger
              live in btrfs subvolumes. Set it to true, or set services.operation-dbus.enable to false.
            '';
          }
          {
            assertion = missing == [ ];
            message = ''
              services.operation-dbus.btrfs.subvolumes lacks ${lib.concatStringsSep ", " missing}, which the
              programs need. Add to the default instead of replacing it.
            '';
          }
          {
            assertion =
              image != null
              || deepest == null
              || lib.elem deepest.fsType [
                "btrfs"
                "auto"
                "none"
              ];
            message = ''
              services.operation-dbus.btrfs.basePath (${storage.basePath}) lies on ${deepest.mountPoint}, which is
              ${deepest.fsType} and not btrfs. Mount a btrfs file system there
              (fileSystems."${storage.basePath}"), or set
              services.operation-dbus.btrfs.image = { size = "20G"; };
            '';
          }
          {
            assertion = image == null || !(config.fileSystems ? ${storage.basePath});
            message = ''
              services.operation-dbus.btrfs.image and fileSystems."${storage.basePath}" both want to mount a file
              system there. Keep one of them.
            '';
          }
          {
            assertion = image == null || !(lib.hasPrefix "${storage.basePath}/" image.path);
            message = ''
              services.operation-dbus.btrfs.image.path (${image.path}) lies inside the directory that it is mounted
              at (${storage.basePath}). Put it elsewhere.
            '';
          }
        ];
      }

      (lib.mkIf (image != null) {
        # On Debian the storage program writes this mount itself; here the module does.
        systemd.services.opdbus-image = {
          description = "operation-dbus btrfs image";
          unitConfig = {
            DefaultDependencies = false;
            RequiresMountsFor = [ (dirOf image.path) ];
          };
          after = [ "systemd-remount-fs.service" ];
          before = [ "${utils.escapeSystemdPath storage.basePath}.mount" ];
          # Stopping it would unmount the data, and stop every container.
          restartIfChanged = false;
          serviceConfig = {
            Type = "oneshot";
            RemainAfterExit = true;
            ExecStart = "${lib.getExe' cfg.package "opdbus-storage"} image";
            RuntimeDirectory = "opdbus";
            RuntimeDirectoryPreserve = true;
            # A file is made and formatted: that takes no privilege but writing there. No PrivateTmp: it would
            # order this after systemd-tmpfiles-setup.service, which waits for the mount.
            CapabilityBoundingSet = [ "CAP_DAC_OVERRIDE" ];
            LockPersonality = true;
            MemoryDenyWriteExecute = true;
            NoNewPrivileges = true;
            PrivateDevices = true;
            # No PrivateTmp: that is ordered after systemd-tmpfiles-setup, and so after local file systems, of which
            # the mount below is one.
            PrivateNetwork = true;
            ProtectClock = true;
            ProtectControlGroups = true;
            ProtectHome = true;
            ProtectHostname = true;
            ProtectKernelLogs = true;
            ProtectKernelModules = true;
            ProtectKernelTunables = true;
            # Not strict: the directory of the image may have to be made, too.
            ProtectSystem = "full";
            RestrictAddressFamilies = [ "AF_UNIX" ];
            RestrictNamespaces = true;
            RestrictRealtime = true;
            RestrictSUIDSGID = true;
            SystemCallArchitectures = "native";
          };
        };
        systemd.mounts = [
          {
            description = "operation-dbus data";
            what = image.path;
            where = storage.basePath;
            type = "btrfs";
            options = "loop,noatime,compress=zstd:${toString storage.compressionLevel}";
            requires = [ "opdbus-image.service" ];
            after = [ "opdbus-image.service" ];
          }
        ];
        boot.supportedFilesystems.btrfs = true;
        boot.kernelModules = [ "loop" ];
      })
    ]
  );
}
