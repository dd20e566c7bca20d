# expects: services.operation-dbus.ledger.checkpoints.every
# expects: one of "hourly", "daily"
{
  services.operation-dbus.ledger.checkpoints = {
    to = "journal";
    every = "yearly";
  };
}
