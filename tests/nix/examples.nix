# Every option's example, taken as a definition of that option: what is wrong with it, by the option's name. None is
# wrong where this is empty.
{ pkgs, operation-dbus }:

let
  inherit (pkgs) lib;

  # Those of submodules too, with their types.
  all =
    options:
    lib.concatMap (
      option:
      lib.optionals (option.visible or true && !(option.internal or false)) [ option ]
      ++ all (removeAttrs (option.type.getSubOptions option.loc) [ "_module" ])
    ) (lib.collect lib.isOption options);

  scope = {
    inherit lib pkgs;
    # What a flake's inputs bring.
    operation-dbus.packages.${pkgs.stdenv.hostPlatform.system}.default = pkgs.emptyDirectory;
  };
  valueOf =
    example:
    if example._type or "" == "literalExpression" then
      import (builtins.toFile "example.nix" "{ lib, pkgs, operation-dbus, ... }: ${example.text}") scope
    else
      example;

  # Types are checked as values are looked at, so all of it is.
  accepted =
    option:
    (builtins.tryEval (
      builtins.deepSeq (described
        (lib.evalModules {
          modules = [
            { options.it = lib.mkOption { inherit (option) type; }; }
            { it = valueOf option.example; }
          ];
        }).config.it
      ) true
    )).success;
  # Derivations have no end.
  described =
    value:
    if lib.isDerivation value then
      value.drvPath
    else if lib.isAttrs value then
      lib.mapAttrs (_: described) (removeAttrs value [ "_module" ])
    else if lib.isList value then
      map described value
    else
      value;
in
lib.concatMap (
  option:
  lib.optional (
    !(option ? example) && !(option.readOnly or false)
  ) "${lib.showOption option.loc} has no example"
  ++ lib.optional (
    option ? example && !accepted option
  ) "${lib.showOption option.loc}: its example is no value for it"
) (all operation-dbus)
