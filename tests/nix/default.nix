# What the tier `nix` evaluates, each attribute a question to NixOS. NIXPKGS_PATH names the nixpkgs tree,
# CRANE_PATH crane's (else that of flake.lock is fetched).
{
  nixpkgs ? builtins.getEnv "NIXPKGS_PATH",
  crane ? builtins.getEnv "CRANE_PATH",
  # The requirements' own configuration, where it imports the module from as it is written there.
  requirements ? "",
}:

let
  module = ../../nixos/modules/operation-dbus.nix;
  repository = import ../../nixos { inherit lib; };
  lib = import (nixpkgs + "/lib");
  pkgs = import nixpkgs { system = "x86_64-linux"; };

  evaluate =
    modules:
    import (nixpkgs + "/nixos/lib/eval-config.nix") {
      inherit lib;
      system = null;
      modules = modules ++ [ { nixpkgs.hostPlatform = "x86_64-linux"; } ];
    };

  # A stand-in of the programs, which has their units: what is asked here is not how they are built.
  standIn =
    { pkgs, ... }:
    {
      services.operation-dbus = {
        package = pkgs.runCommand "operation-dbus-0" { } ''
          mkdir -p $out/share/operation-dbus
          cp -r ${../../systemd} $out/share/operation-dbus/systemd
        '';
        # There is no program to check it with: tests/nix/tier.sh checks the goldens with the built one.
        checkConfig = false;
      };
    };
  real =
    { pkgs, ... }:
    lib.mkIf (crane != "") {
      services.operation-dbus.package =
        (import ../.. {
          inherit pkgs;
          crane = import crane;
        }).operation-dbus;
    };

  written = [
    requirements
    ./requirements/host.nix
  ];
  hosts =
    lib.mapAttrs (_: example: [
      module
      example
    ]) repository.examples
    // lib.optionalAttrs (requirements != "") { requirements = written; };
in
{
  # All of a host that is ours, as files.
  goldens = pkgs.linkFarm "goldens" (
    lib.mapAttrs (
      _: modules:
      import ./golden.nix {
        inherit lib;
        host = evaluate (modules ++ [ standIn ]);
      }
    ) hosts
  );

  documentation = (pkgs.callPackage ../../nixos/options.nix { }).text;

  # Whole systems, with the programs as crane builds them.
  toplevels =
    let
      toplevel = modules: (evaluate (modules ++ [ real ])).config.system.build.toplevel.drvPath;
    in
    lib.mapAttrs (_: toplevel) (
      hosts
      // lib.mapAttrs' (
        name: image:
        lib.nameValuePair "netboot-${name}" [
          module
          image
        ]
      ) repository.images
    );

  # One wrong configuration, or none (""), on top of a good host.
  host =
    wrong:
    (evaluate [
      module
      standIn
      ./host.nix
      (if wrong == "" then { } else wrong)
    ]).config.system.build.toplevel.drvPath;

  # The host specs that NixOS renders of the configurations DIRECTORY/N/config.nix, by N.
  specs =
    directory: names:
    lib.genAttrs names (
      name:
      let
        inherit
          (evaluate [
            module
            standIn
            ./requirements/host.nix
            (directory + "/${name}/config.nix")
          ])
          config
          ;
        failed = lib.filter (one: !one.assertion) config.assertions;
        # What the file is generated from: as JSON, or as it is where nixpkgs has Nix write the JSON.
        inherit (config.services.operation-dbus.configFile) value;
      in
      if failed == [ ] then
        if lib.isString value then builtins.fromJSON value else value
      else
        throw "${name}: ${(lib.head failed).message}"
    );

  examples = import ./examples.nix {
    inherit pkgs;
    inherit ((evaluate [ module ]).options.services) operation-dbus;
  };
}
