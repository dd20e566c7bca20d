# The options' documentation, as CommonMark and as JSON.
{
  lib,
  nixosOptionsDoc,
  runCommand,
  path,
}:

let
  # The module's own declarations, in the repository and not in somebody's store.
  root = toString ./..;
  relative =
    declaration:
    let
      name = lib.removePrefix "${root}/" (toString declaration);
    in
    {
      inherit name;
      url = "https://github.com/repr0bated/operation-dbus/blob/main/${name}";
    };

  evaluated = import (path + "/nixos/lib/eval-config.nix") {
    system = null;
    modules = [
      ./modules/operation-dbus.nix
      { nixpkgs.hostPlatform = "x86_64-linux"; }
    ];
  };

  documentation = nixosOptionsDoc {
    options = { inherit (evaluated.options.services) operation-dbus; };
    documentType = "none";
    transformOptions = option: option // { declarations = map relative option.declarations; };
  };
in
runCommand "operation-dbus-options" { passthru = { inherit (documentation) optionsNix; }; } ''
  mkdir $out
  cp ${documentation.optionsCommonMark} $out/options.md
  cp ${documentation.optionsJSON}/share/doc/nixos/options.json $out/options.json
''
