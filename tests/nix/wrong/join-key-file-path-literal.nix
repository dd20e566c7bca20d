# expects: services.operation-dbus.netmaker.joinKeyFile
# expects: Write it in quotes
{
  services.operation-dbus.netmaker.joinKeyFile = ./join-key-file-path-literal.nix;
}
