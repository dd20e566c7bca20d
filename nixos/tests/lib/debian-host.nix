# A Debian beside a NixOS: in a container of systemd's on the same kernel, with its own root file system on btrfs and
# without a network, so that what the installer needs is installed already (./debian.lock). The machine is no host of
# operation-dbus itself.
{
  lib,
  pkgs,
  programs,
  ...
}:

let
  debian = import ./debian.nix { inherit pkgs; };
  guest = "${debian.guest}/root.tar.zst";

  # As an admin has them in a checkout, and as `nix build .#static` makes them.
  checkout = pkgs.runCommand "operation-dbus-checkout" { } ''
    install -D ${../../../install-opdbus.sh} $out/install-opdbus.sh
  '';

  make = pkgs.writeShellApplication {
    name = "debian-make";
    runtimeInputs = [
      pkgs.gnutar
      pkgs.zstd
    ];
    text = ''
      tar --extract --zstd --numeric-owner --file ${debian.host}/root.tar.zst --directory /srv/debian
      cd /srv/debian
      mkdir -p opt/operation-dbus opt/programs opt/guest
      cp ${checkout}/install-opdbus.sh opt/operation-dbus
      cp ${programs}/bin/* opt/programs
      echo debian > etc/hostname
      # lxc.service waits half a minute for a bridge that nobody has asked for.
      echo 'USE_LXC_BRIDGE="false"' > etc/default/lxc-net
      for unit in lxc-net.service apt-daily.timer apt-daily-upgrade.timer; do
        ln -s /dev/null "etc/systemd/system/$unit"
      done
    '';
  };

  enter = pkgs.writeShellApplication {
    name = "in-debian";
    runtimeInputs = [ pkgs.util-linux ];
    text = ''
      leader=$(machinectl show debian --property Leader --value)
      exec nsenter --all --target "$leader" -- /usr/bin/env --ignore-environment \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"
    '';
  };
in
{
  virtualisation = {
    cores = 2;
    memorySize = 3072;
    emptyDiskImages = [ 10240 ];
    fileSystems."/srv/debian" = {
      device = "/dev/vdb";
      fsType = "btrfs";
      autoFormat = true;
    };
  };

  boot.kernelModules = [
    "openvswitch"
    "tun"
    "fuse"
  ];

  system.build.debianGuest = guest;

  environment.systemPackages = [
    pkgs.jq
    make
    enter
  ];

  systemd.services.debian = {
    serviceConfig = {
      Type = "notify";
      Delegate = true;
      KillMode = "mixed";
      ExecStart = lib.concatStringsSep " " [
        "${pkgs.systemd}/bin/systemd-nspawn --quiet --keep-unit --machine=debian --directory=/srv/debian"
        "--boot --notify-ready=yes --private-network --capability=all --link-journal=no"
        "--system-call-filter='bpf keyctl add_key @keyring perf_event_open'"
        "--bind=/dev/net/tun --bind=/dev/fuse --bind=/dev/btrfs-control"
        # By the path that it has on NixOS, so that both host specs are one.
        "--bind-ro=${guest}"
      ];
    };
  };
}
