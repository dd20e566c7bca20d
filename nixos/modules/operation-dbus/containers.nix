# Declared containers. Those made by hand (`op-dbus container create`) are not listed here and never
# touched by a rebuild.
{
  config,
  lib,
  ...
}:

let
  inherit (lib) mkOption types;
  ours = import ./types.nix { inherit lib; };

  cfg = config.services.operation-dbus;
  spec = cfg.settings;

  container = types.submodule {
    options = {
      template = mkOption {
        type = ours.name;
        default = "debian-base";
        example = "web";
        description = ''
          The template it is cloned from, one of {option}`services.operation-dbus.templates`. Changing it
          does not touch a container that exists.
        '';
      };
      network = mkOption {
        type = types.enum [
          "socket"
          "mesh"
        ];
        default = "socket";
        example = "socket";
        description = ''
          How it is reached: `socket` (Unix sockets and IP on this host's bridge) or `mesh` (across
          hosts), which is not part of this version and refused.
        '';
      };
      address = mkOption {
        type = types.nullOr ours.address;
        default = null;
        example = "10.0.0.20";
        description = "Its address in the containers' subnet; the first free one, kept for its life, where none is given.";
      };
      connect = mkOption {
        type = types.listOf ours.name;
        default = [ ];
        example = [ "db-01" ];
        description = ''
          The containers whose service it may reach, over their Unix socket and over IP. A container
          reaches no other that it was not granted.
        '';
      };
      service = mkOption {
        type = types.nullOr (types.coercedTo types.port toString ours.service);
        default = null;
        example = 5432;
        description = ''
          Where the service that it offers to those who were granted it listens inside: a port of
          127.0.0.1, an address and port, or the path of a Unix socket.
        '';
      };
      limits = {
        cores = mkOption {
          type = types.ints.between 1 4096;
          default = 2;
          example = 4;
          description = "Processor cores' worth of time.";
        };
        memory = mkOption {
          type = types.ints.between 64 1073741824;
          default = 2048;
          example = 4096;
          description = "Memory in MiB.";
        };
        swap = mkOption {
          type = types.ints.between 0 1073741824;
          default = 512;
          example = 0;
          description = "Swap in MiB beside the memory.";
        };
      };
      nesting = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether it may run containers itself.";
      };
      autostart = mkOption {
        type = types.bool;
        default = true;
        example = false;
        description = "Whether it is started with the host, and by a rebuild.";
      };
    };
  };

  subnet = ours.parseSubnet spec.ovs.subnet;
  usable =
    address:
    let
      offset = ours.toNumber address - subnet.network;
    in
    subnet == null || (offset > 1 && offset < subnet.size - 1);
  withAddress = lib.filterAttrs (_: declared: declared.address or null != null) spec.containers;
  sameAddress = lib.filterAttrs (_: names: lib.length names > 1) (
    lib.groupBy (name: withAddress.${name}.address) (lib.attrNames withAddress)
  );
in
{
  options.services.operation-dbus.containers = mkOption {
    type = types.attrsOf container;
    default = { };
    example = {
      db-01.service = 5432;
      web-01 = {
        connect = [ "db-01" ];
        limits.memory = 1024;
      };
    };
    description = ''
      Containers that shall exist. A rebuild touches only those whose declaration changed. One that
      is taken out is no longer managed and stays as it is, running or not, as if it had been made
      by hand; {command}`op-dbus container delete` deletes it.
    '';
  };

  config = lib.mkIf cfg.enable {
    services.operation-dbus.settings.containers = cfg.containers;

    assertions =
      lib.concatLists (
        lib.mapAttrsToList (
          name: declared:
          let
            at = "services.operation-dbus.containers.${name}";
          in
          [
            {
              assertion = ours.isName name;
              message = ''
                services.operation-dbus.containers."${name}": that is no name for a container. Use ${ours.nameRule}.
              '';
            }
            {
              assertion = spec.templates ? ${declared.template};
              message = ''
                ${at}.template is ${declared.template}, and services.operation-dbus.templates has
                ${lib.concatStringsSep ", " (lib.attrNames spec.templates)}. Declare
                services.operation-dbus.templates.${declared.template}, or name one of those.
              '';
            }
            {
              assertion = declared.network != "mesh";
              message = ''
                ${at}.network is mesh, and this version has no mesh. Set it to "socket".
              '';
            }
            {
              assertion = !(lib.elem name declared.connect);
              message = ''
                ${at}.connect has ${name} itself. A container needs no grant to reach itself: take it out.
              '';
            }
            {
              assertion = declared.address == null || usable declared.address;
              message = ''
                ${at}.address is ${toString declared.address}, which is not a free address of
                services.operation-dbus.ovs.subnet (${spec.ovs.subnet}; its first address is the gateway's). Name one
                inside, or leave it out.
              '';
            }
          ]
        ) cfg.containers
      )
      ++ lib.mapAttrsToList (address: names: {
        assertion = false;
        message = ''
          ${
            lib.concatMapStringsSep " and " (name: "services.operation-dbus.containers.${name}.address") names
          } are one address, ${address}. Give each its own, or leave it out.
        '';
      }) sameAddress;
  };
}
