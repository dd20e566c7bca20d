# The host that opdbus-netboot-install installed. It is yours to change; `nixos-rebuild switch` puts it into effect.
{
  imports = [
    ./hardware-configuration.nix
    ./installed.nix
    ./operation-dbus/nixos/modules/operation-dbus.nix
  ];

  services.operation-dbus = {
    enable = true;
    # containers.web-01 = { };
    # users = [ "alice" ];
  };

  # users.users.alice = {
  #   isNormalUser = true;
  #   extraGroups = [ "wheel" ];
  #   openssh.authorizedKeys.keys = [ ];
  # };
  # services.openssh.enable = true;
}
