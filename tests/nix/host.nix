# The least that is a host: every configuration in ./wrong is laid on top of it, and it is right itself.
{
  imports = [ ./requirements/host.nix ];
  services.operation-dbus.enable = true;
}
