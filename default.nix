# For those without flakes: the programs and the module, with crane (and nixpkgs, where none is given)
# as flake.lock pins them.
#
#   nix-build -A operation-dbus
{
  system ? builtins.currentSystem,
  lock ? builtins.fromJSON (builtins.readFile ./flake.lock),
  locked ?
    name:
    let
      node = lock.nodes.${lock.nodes.root.inputs.${name}}.locked;
    in
    fetchTarball {
      url = "https://github.com/${node.owner}/${node.repo}/archive/${node.rev}.tar.gz";
      sha256 = node.narHash;
    },
  pkgs ? import (locked "nixpkgs") { inherit system; },
  crane ? import (locked "crane"),
}:

{
  operation-dbus = pkgs.callPackage ./nixos/package.nix { craneLib = crane { inherit pkgs; }; };
  nixosModule = ./nixos/modules/operation-dbus.nix;
}
