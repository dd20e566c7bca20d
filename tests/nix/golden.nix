# What the module makes of a host, as the files that NixOS would have there. The units are built and not only
# evaluated: those of the package are made by a builder.
{ lib, host }:

let
  inherit (host) config options pkgs;

  isOurs = file: lib.hasInfix "nixos/modules/operation-dbus" (toString file);

  # The options that the module's files set. They are found from the files, as to ask each of NixOS' thousands of
  # options who set it would force defaults that only some hosts have.
  main = lib.head options.services.operation-dbus.package.declarations;
  configOf =
    file:
    let
      module = import file (
        host._module.args
        // {
          inherit
            config
            lib
            options
            pkgs
            ;
        }
      );
    in
    [ module.config ] ++ lib.concatMap configOf (lib.filter lib.isPath (module.imports or [ ]));
  reached =
    at: definition:
    if lib.isOption at then
      [ at ]
    else if definition._type or "" == "merge" then
      lib.concatMap (reached at) definition.contents
    else if definition ? _type then
      lib.optionals (definition.condition or true) (reached at definition.content)
    else
      lib.concatLists (lib.mapAttrsToList (name: reached at.${name}) definition);

  # Without the module system's wrapping, and derivations as their paths.
  plain =
    value:
    if lib.isDerivation value || lib.isPath value then
      "${value}"
    else if lib.isList value then
      map plain value
    else if lib.isAttrs value then
      if value ? _type then plain value.content else lib.mapAttrs (_: plain) value
    else
      value;
  # What the module's files say of an option, a value for each.
  setOf =
    option:
    map (definition: plain definition.value) (
      lib.filter (definition: isOurs definition.file) option.definitionsWithLocations
    );

  # These have files of their own.
  elsewhere = [
    "assertions"
    "environment.etc"
    "services.operation-dbus"
    "systemd.mounts"
    "systemd.packages"
    "systemd.services"
    "systemd.sockets"
    "systemd.timers"
    "warnings"
  ];
  sets =
    lib.filterAttrs
      (name: values: values != [ ] && !(lib.any (prefix: lib.hasPrefix prefix name) elsewhere))
      (
        lib.listToAttrs (
          map (option: lib.nameValuePair (lib.showOption option.loc) (setOf option)) (
            lib.concatMap (reached options) (configOf main)
          )
        )
      );

  set = name: lib.zipAttrs (setOf (lib.getAttrFromPath (lib.splitString "." name) options));
  units = lib.getAttrs (
    map (name: "${name}.service") (lib.attrNames (set "systemd.services"))
    ++ map (name: "${name}.socket") (lib.attrNames (set "systemd.sockets"))
    ++ map (name: "${name}.timer") (lib.attrNames (set "systemd.timers"))
    ++ map (mount: "${host._module.args.utils.escapeSystemdPath mount.where}.mount") (
      lib.concatLists (setOf options.systemd.mounts)
    )
  ) config.systemd.units;

  packaged = lib.findFirst (package: package.name or "" == "operation-dbus-units") null;

  lines = map (text: lib.removeSuffix "\n" text + "\n");
  files = {
    "nixos.json" = builtins.toJSON sets;
    "warnings.txt" = lib.concatStringsSep "\n" (
      lines (lib.filter (lib.hasInfix "operation-dbus") config.warnings)
    );
    "failed-assertions.txt" = lib.concatStringsSep "\n" (
      lines (map (failed: failed.message) (lib.filter (one: !one.assertion) config.assertions))
    );
  };
  etc = lib.filterAttrs (name: _: lib.hasPrefix "opdbus" name) config.environment.etc;

  # As NixOS' own generator lays them: what it has of a unit that a package brings goes into a drop-in.
  lay =
    name: unit:
    ''
      name=${lib.escapeShellArg name}
      file=$name
      if [ -e "$system/$name" ]; then
        mkdir "$system/$name.d"
        file=$name.d/overrides.conf
      fi
      printf %s ${lib.escapeShellArg unit.text} > "$system/$file"
    ''
    +
      lib.concatMapStrings
        (into: ''
          mkdir -p "$system"/${into}
          ln -s "../$name" "$system"/${into}/
        '')
        (
          map (target: "${target}.wants") unit.wantedBy
          ++ map (target: "${target}.requires") unit.requiredBy
          ++ map (target: "${target}.upholds") (unit.upheldBy or [ ])
        );
in
pkgs.runCommand "golden" { } (
  ''
    system=$out/etc/systemd/system
    mkdir -p "$system" $out/etc/dbus-1/system.d
    cp --no-preserve=mode ${packaged config.systemd.packages}/lib/systemd/system/* "$system"
    cp --no-preserve=mode ${packaged config.services.dbus.packages}/share/dbus-1/system.d/* $out/etc/dbus-1/system.d
  ''
  + lib.concatStrings (lib.mapAttrsToList lay units)
  + lib.concatStrings (
    lib.mapAttrsToList (name: entry: ''
      mkdir -p "$(dirname "$out/etc/${name}")"
      cp --no-preserve=mode ${entry.source} $out/etc/${name}
    '') etc
  )
  + lib.concatStrings (
    lib.mapAttrsToList (name: text: "printf %s ${lib.escapeShellArg text} > $out/${name}\n") files
  )
  + "exit 0\n"
)
