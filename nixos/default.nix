# What this directory holds, by name.
{ lib }:

let
  named =
    directory:
    lib.mapAttrs' (file: _: lib.nameValuePair (lib.removeSuffix ".nix" file) (directory + "/${file}")) (
      lib.filterAttrs (file: _: lib.hasSuffix ".nix" file) (
        lib.optionalAttrs (lib.pathExists directory) (builtins.readDir directory)
      )
    );
in
{
  # Whole configurations of hosts.
  examples = named ./examples;
  # Configurations that boot from the network.
  images = named ./netboot/configs;
  # Tests that boot virtual machines, each a promise.
  tests = named ./tests;
}
