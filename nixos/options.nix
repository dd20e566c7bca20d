# The options' documentation, as CommonMark and as JSON. The CommonMark is rendered here, by evaluation alone, so
# that docs/nixos-options.md can be compared where nothing can be built.
{
  lib,
  nixosOptionsDoc,
  runCommand,
  writeText,
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
    inherit lib;
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

  # What the roles of nixpkgs' own documentation say is said by the words already.
  prose =
    text:
    lib.trim (
      lib.replaceStrings (map (role: "{${role}}`") roles) (map (_: "`") roles) (text.text or text)
    );
  roles = [
    "command"
    "env"
    "file"
    "manpage"
    "option"
  ];

  value =
    what: of:
    let
      text = lib.trim of.text;
    in
    if of._type == "literalMD" then
      "*${what}:* ${prose text}\n\n"
    else if lib.hasInfix "\n" text then
      "*${what}:*\n\n```nix\n${text}\n```\n\n"
    else
      "*${what}:* `${text}`\n\n";

  section =
    name: option:
    let
      readOnly = lib.optionalString option.readOnly " (read only)";
    in
    "## `${name}`\n\n${prose option.description}\n\n*Type:* ${option.type}${readOnly}\n\n"
    + lib.concatStrings (
      lib.optional (option ? default) (value "Default" option.default)
      ++ lib.optional (option ? example) (value "Example" option.example)
    )
    + lib.concatMapStrings (
      declaration: "*Declared in:* [${declaration.name}](../${declaration.name})\n"
    ) option.declarations;

  text = ''
    # Options of the NixOS module

    Generated from the module; do not edit. [README.md](../README.md#nixos) says how to begin, and
    [nixos/examples](../nixos/examples) has whole configurations.

  ''
  + lib.concatStringsSep "\n" (lib.mapAttrsToList section documentation.optionsNix);
in
runCommand "operation-dbus-options" { passthru = { inherit text; }; } ''
  mkdir $out
  cp ${writeText "options.md" text} $out/options.md
  cp ${documentation.optionsJSON}/share/doc/nixos/options.json $out/options.json
''
