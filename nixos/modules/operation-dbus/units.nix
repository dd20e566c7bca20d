# The package's own units, with the base path filled in, and their wiring. They are the units that
# the Debian installer puts in place.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.operation-dbus;

  inherit (cfg.settings) mcp;
  listen =
    if lib.hasInfix ":" mcp.address then
      "[${mcp.address}]:${toString mcp.port}"
    else
      "${mcp.address}:${toString mcp.port}";
  credentials =
    if mcp.tls == null then
      "# Without TLS of its own."
    else
      "LoadCredential=certificate:${mcp.tls.certificate}\nLoadCredential=key:${mcp.tls.key}";

  # What the search may have of the network, as src/units has it.
  inherit (cfg.settings.ml) qdrant;
  whereabouts = builtins.match "https?://(\\[([0-9a-fA-F:.]+)]|([0-9.]+)|(localhost))(:[0-9]+)?/?" qdrant.url;
  address = lib.findFirst (found: found != null) null (lib.sublist 1 3 whereabouts);
  here = address == "localhost" || address == "::1" || lib.hasPrefix "127." address;
  searchNetwork =
    if qdrant == null then
      "PrivateNetwork=yes\nRestrictAddressFamilies=AF_UNIX\nIPAddressDeny=any"
    else
      lib.concatStringsSep "\n" (
        [
          "# It asks a Qdrant server (ml.qdrant), and nobody asks it."
          "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
          "SocketBindDeny=any"
        ]
        ++ lib.optionals (whereabouts != null) [
          "IPAddressDeny=any"
          "IPAddressAllow=${if here then "localhost" else address}"
        ]
        ++ lib.optionals (qdrant.apiKeyFile or null != null) [
          "LoadCredential=qdrant-api-key:${qdrant.apiKeyFile}"
          "SetCredential=qdrant-api-key:absent"
        ]
      );

  units = pkgs.runCommand "operation-dbus-units" { } ''
    mkdir -p $out/lib/systemd/system $out/share/dbus-1/system.d $out/share/polkit-1/actions
    for unit in ${cfg.package}/share/operation-dbus/systemd/*; do
      case $unit in
        *.conf) place=share/dbus-1/system.d ;;
        *.policy) place=share/polkit-1/actions ;;
        # networking.networkmanager.unmanaged says it here.
        *.rules) continue ;;
        *) place=lib/systemd/system ;;
      esac
      substitute "$unit" "$out/$place/''${unit##*/}" \
        --subst-var-by bindir ${cfg.package}/bin \
        --subst-var-by basePath ${lib.escapeShellArg cfg.settings.btrfs.basePath} \
        --subst-var-by mcpListen ${lib.escapeShellArg listen} \
        --subst-var-by mcpCredentials ${lib.escapeShellArg credentials} \
        --subst-var-by searchNetwork ${lib.escapeShellArg searchNetwork}
    done
  '';

  enabled = {
    wantedBy = [ "multi-user.target" ];
    # Stopping and starting is not what a new version needs.
    stopIfChanged = false;
  };
  # Reconciles when the spec changes or the programs do, without stopping anything: restarted together, one would
  # end another in the middle of its work.
  reconciles = enabled // {
    reloadIfChanged = true;
    restartTriggers = [ cfg.configFile ];
  };
in
{
  config = lib.mkIf cfg.enable {
    virtualisation.lxc.enable = true;
    # What LXC's own configuration includes by this path.
    environment.pathsToLink = [ "/share/lxc" ];

    systemd.packages = [ units ];
    services.dbus.packages = [ units ];
    # Where polkit, if there is one, finds its actions.
    environment.systemPackages = [ units ];

    systemd.services = {
      opdbus-storage = reconciles;
      opdbus-ledger = reconciles;
      opdbus-network = reconciles // {
        # Its flows are gone when ovs-vswitchd ends, and it comes back with it.
        wantedBy = [
          "multi-user.target"
          "ovs-vswitchd.service"
        ];
      };
      opdbus-apply = enabled // {
        restartTriggers = [ cfg.configFile ];
      };
      opdbus = enabled;
      # Starts containers at boot; a rebuild does not start what was stopped since.
      opdbus-containers = enabled // {
        restartIfChanged = false;
      };
      # A rebuild never restarts a container; `opdbus-apply` restarts those whose declaration asks for it.
      "opdbus-container@".restartIfChanged = false;
    };
    systemd.sockets.opdbus.wantedBy = [ "sockets.target" ];
    systemd.sockets.opdbus-search.wantedBy = [ "sockets.target" ];
    systemd.timers.opdbus-snapshots.wantedBy = [ "timers.target" ];
    systemd.timers.opdbus-checkpoint.wantedBy = [ "timers.target" ];
  };
}
