# expects: services.operation-dbus.ledger.checkpoints.to
# expects: absolute path
{
  services.operation-dbus.ledger.checkpoints = {
    to = "vault";
    every = "daily";
  };
}
