# A production host: its data on disks of its own, two templates, an application of three containers that
# reach what they were granted and nothing else. The name is that of the role: what a Proxmox VE host does in a
# rack, done by NixOS.
{
  imports = [ ../modules/operation-dbus.nix ];

  services.operation-dbus = {
    enable = true;

    btrfs = {
      basePath = "/var/lib/op-dbus";
      subvolumes = [
        "@cache"
        "@timing"
        "@vectors"
        "@state"
        "@snapshots"
        "@plugins"
        "@templates"
        "@backups"
      ];
    };

    ovs = {
      bridge = "ovsbr0";
      datapath = "kernel";
      subnet = "10.20.0.0/22";
      dns = [
        "9.9.9.9"
        "2620:fe::fe"
      ];
    };

    snapshots = {
      "@state".schedule = "daily";
      "container/db-01" = {
        schedule = "hourly";
        keep.hourly = 48;
      };
    };

    # What proves the ledger goes where the journal goes.
    ledger.checkpoints = {
      to = "journal";
      every = "hourly";
    };

    # The daemon stays on the first socket; the containers have the rest.
    numa = {
      enable = true;
      node = 0;
      cpuList = "0-7";
    };

    templates = {
      debian-base = {
        suite = "bookworm";
        timeZone = "Europe/Berlin";
        user = {
          name = "admin";
          sshKeys = [
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBGVQXt2Iw2WCXuRUPB1sHP4MLBnTJSVYJ6fnkkOYmtF admin@example"
          ];
          sudo = true;
        };
      };
      web = {
        suite = "bookworm";
        packages = [ "nginx-light" ];
      };
    };

    containers = {
      db-01 = {
        address = "10.20.0.20";
        service = 5432;
        limits = {
          cores = 4;
          memory = 8192;
          swap = 0;
        };
      };
      app-01 = {
        address = "10.20.0.30";
        service = "/run/app/app.sock";
        connect = [ "db-01" ];
      };
      web-01 = {
        template = "web";
        address = "10.20.0.40";
        service = 80;
        connect = [ "app-01" ];
        limits.memory = 1024;
      };
    };

    plugins.resolved = {
      introspection = "org.freedesktop.resolve1";
      capabilities = [ "read" ];
    };

    users = [ "operator" ];
  };

  users.users.operator = {
    isNormalUser = true;
    openssh.authorizedKeys.keys = [
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBGVQXt2Iw2WCXuRUPB1sHP4MLBnTJSVYJ6fnkkOYmtF operator@example"
    ];
  };

  networking = {
    hostName = "host-01";
    # The rack's network; containers reach it by address translation.
    useDHCP = false;
    interfaces.enp3s0.ipv4.addresses = [
      {
        address = "192.0.2.10";
        prefixLength = 24;
      }
    ];
    defaultGateway = "192.0.2.1";
    nameservers = [ "9.9.9.9" ];
    nftables.enable = true;
  };

  services.openssh = {
    enable = true;
    settings.PasswordAuthentication = false;
  };

  boot.loader.systemd-boot.enable = true;
  boot.kernelModules = [ "kvm-intel" ];
  fileSystems = {
    "/" = {
      device = "/dev/disk/by-label/root";
      fsType = "ext4";
    };
    "/boot" = {
      device = "/dev/disk/by-label/ESP";
      fsType = "vfat";
      options = [ "umask=0077" ];
    };
    # btrfs has one compression level for each file system: that of this mount.
    "/var/lib/op-dbus" = {
      device = "/dev/disk/by-label/opdbus";
      fsType = "btrfs";
      options = [
        "compress=zstd:3"
        "noatime"
      ];
    };
  };

  system.stateVersion = "26.05";
}
