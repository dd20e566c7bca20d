{
  description = "operation-dbus: one Linux host as declared infrastructure";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    crane.url = "github:ipetkov/crane";
  };

  outputs =
    {
      self,
      nixpkgs,
      crane,
    }:
    let
      inherit (nixpkgs) lib;

      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      eachSystem = f: lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});

      package =
        pkgs: more: pkgs.callPackage ./nixos/package.nix ({ craneLib = crane.mkLib pkgs; } // more);
      programs = pkgs: package pkgs { };
      # For hosts without a Nix store: static, and with the host's own tools.
      static = pkgs: package pkgs.pkgsStatic { wrapped = false; };

      host =
        system: configuration:
        lib.nixosSystem {
          modules = [
            self.nixosModules.default
            configuration
            { nixpkgs.hostPlatform = lib.mkDefault system; }
          ];
        };
      parts = import ./nixos { inherit lib; };
      inherit (parts) examples tests;
      # An image and an example may have one name.
      images = lib.mapAttrs' (name: lib.nameValuePair "netboot-${name}") parts.images;

      # One host as one image: what a machine that boots from the network asks for.
      image =
        pkgs: name: configuration:
        let
          inherit ((host pkgs.stdenv.hostPlatform.system configuration).config.system) build;
        in
        pkgs.symlinkJoin {
          name = "operation-dbus-${name}";
          paths = [
            build.kernel
            build.netbootRamdisk
            build.netbootIpxeScript
          ];
          meta.description = "Kernel, initrd and iPXE script of ${name}";
        };

      # A script of this repository as `nix run` starts it.
      script =
        pkgs: name: description: text:
        let
          program = pkgs.writeShellApplication { inherit name text; };
        in
        {
          type = "app";
          program = lib.getExe program;
          meta = { inherit description; };
        };
    in
    {
      nixosModules.default =
        { pkgs, ... }:
        {
          imports = [ ./nixos/modules/operation-dbus.nix ];
          services.operation-dbus.package =
            lib.mkDefault
              self.packages.${pkgs.stdenv.hostPlatform.system}.default;
        };

      overlays.default = final: _: { operation-dbus = programs final; };

      nixosConfigurations = lib.mapAttrs (_: host "x86_64-linux") (examples // images);

      packages = eachSystem (
        pkgs:
        {
          default = programs pkgs;
          static = static pkgs;
          model = pkgs.callPackage ./nixos/model.nix { };
          options = pkgs.callPackage ./nixos/options.nix { };
        }
        // lib.mapAttrs (image pkgs) images
      );

      apps = eachSystem (pkgs: {
        default = {
          type = "app";
          program = lib.getExe' (programs pkgs) "op-dbus";
          meta.description = "The admin's command";
        };
        install =
          script pkgs "install-opdbus" "Installs operation-dbus on this Debian or Ubuntu host"
            ''exec ${./install-opdbus.sh} --bin-dir ${static pkgs}/bin "$@"'';
        lab = script pkgs "opdbus-lab" "Starts the lab in a checkout (Debian, as root)" ''
          if [[ ! -x lab/up ]]; then
            echo "error: run this in a checkout of operation-dbus, which holds the lab's caches" >&2
            exit 2
          fi
          exec lab/up "$@"
        '';
      });

      checks = eachSystem (
        pkgs:
        let
          inherit (pkgs.stdenv.hostPlatform) system;
          evaluated =
            name: configuration:
            pkgs.runCommand "evaluates-${name}" {
              # Evaluated and not built: a whole system each is for `nix build`.
              toplevel = builtins.unsafeDiscardStringContext (host system configuration)
                .config.system.build.toplevel.drvPath;
            } ''echo "$toplevel" > $out'';
        in
        {
          package = programs pkgs;
        }
        // (programs pkgs).passthru.tests
        // lib.mapAttrs' (
          name: configuration: lib.nameValuePair "evaluates-${name}" (evaluated name configuration)
        ) (examples // images)
        // lib.optionalAttrs (system == "x86_64-linux") (
          # Their Debian is pinned for that system alone.
          lib.mapAttrs' (
            name: test:
            lib.nameValuePair "vm-${name}" (
              pkgs.testers.runNixOSTest {
                imports = [ test ];
                _module.args.operation-dbus = self.nixosModules.default;
                defaults = {
                  imports = [ self.nixosModules.default ];
                  _module.args.programs = static pkgs;
                };
              }
            )
          ) tests
        )
      );

      devShells = eachSystem (pkgs: {
        default = (crane.mkLib pkgs).devShell {
          packages = [
            pkgs.cargo-deny
            pkgs.deadnix
            pkgs.nixfmt-rfc-style
            pkgs.shellcheck
          ];
        };
      });

      formatter = eachSystem (pkgs: pkgs.nixfmt-tree);
    };
}
