# The programs, built by crane: their dependencies are a layer of their own, built once for a Cargo.lock.
{
  lib,
  stdenv,
  craneLib,
  makeBinaryWrapper,
  installShellFiles,
  callPackage,
  # What the programs call.
  btrfs-progs,
  coreutils,
  curl,
  debootstrap,
  gnutar,
  ethtool,
  iproute2,
  lxc,
  nftables,
  openvswitch,
  shadow,
  systemd,
  util-linux,
  zstd,
  debian-archive-keyring ? callPackage ./debian-archive-keyring.nix { },
  ubuntu-keyring ? callPackage ./ubuntu-keyring.nix { },
  # The tools are in the programs' PATH on NixOS; a static build for other hosts takes those of the host.
  wrapped ? true,
}:

let
  inherit (lib) fileset;
  root = ../.;

  source = fileset.toSource {
    inherit root;
    fileset = fileset.unions [
      ../Cargo.toml
      ../Cargo.lock
      ../clippy.toml
      ../deny.toml
      ../rustfmt.toml
      ../benches
      ../src
      ../systemd
      # What checks this directory does not build the programs anew.
      (fileset.difference ../tests ../tests/nix)
      ../docs
      # Its sums are held against those of the programs.
      ./model.nix
      ../README.md
    ];
  };

  common = {
    pname = "operation-dbus";
    inherit ((lib.importTOML ../Cargo.toml).package) version;
    src = source;
    strictDeps = true;
  };
  cargoArtifacts = craneLib.buildDepsOnly common;

  tools = lib.makeBinPath [
    btrfs-progs
    coreutils
    curl
    debootstrap
    gnutar
    ethtool
    iproute2
    lxc
    nftables
    openvswitch
    shadow
    systemd
    util-linux
    zstd
  ];

  # A check of the source that reuses the layer of the dependencies.
  check = build: more: build (common // { inherit cargoArtifacts; } // more);
in
craneLib.buildPackage (
  common
  // {
    inherit cargoArtifacts;
    # Tests that need nothing of the host run as a check of their own (passthru.tests).
    doCheck = false;
    nativeBuildInputs = [
      makeBinaryWrapper
      installShellFiles
    ];

    postInstall = ''
      mkdir -p $out/share/operation-dbus
      cp -r systemd $out/share/operation-dbus/systemd
    ''
    + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
      $out/bin/op-dbus man --all man
      installManPage man/*.1
      for shell in bash fish zsh; do
        $out/bin/op-dbus completions $shell > op-dbus.$shell
      done
      installShellCompletion --cmd op-dbus --bash op-dbus.bash --fish op-dbus.fish --zsh op-dbus.zsh
    '';

    postFixup = lib.optionalString wrapped ''
      for program in $out/bin/*; do
        wrapProgram "$program" \
          --prefix PATH : ${tools} \
          --set-default OPDBUS_LXC_SHARE ${lxc}/share/lxc \
          --set-default OPDBUS_KEYRING ${debian-archive-keyring}/share/keyrings/debian-archive-keyring.gpg \
          --set-default OPDBUS_UBUNTU_KEYRING ${ubuntu-keyring}/share/keyrings/ubuntu-archive-keyring.gpg
      done
    '';

    passthru = {
      inherit cargoArtifacts;
      tests = {
        clippy = check craneLib.cargoClippy { cargoClippyExtraArgs = "--all-targets -- -D warnings"; };
        documentation = check craneLib.cargoDoc { RUSTDOCFLAGS = "-D warnings"; };
        unit = check craneLib.cargoTest { cargoTestExtraArgs = "--lib --bins"; };
        formatting = craneLib.cargoFmt common;
        # The advisories change without us, and would need the network.
        dependencies = craneLib.cargoDeny (common // { cargoDenyChecks = "bans licenses sources"; });
      };
    };

    meta = {
      description = "One Linux host as declared infrastructure: btrfs, Open vSwitch, containers, an audited set of operations";
      homepage = "https://github.com/repr0bated/operation-dbus";
      license = lib.licenses.asl20;
      mainProgram = "op-dbus";
      platforms = lib.platforms.linux;
    };
  }
)
