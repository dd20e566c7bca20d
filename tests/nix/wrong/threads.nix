# expects: services.operation-dbus.ml.numThreads
# expects: between 1 and
{
  services.operation-dbus.ml.numThreads = 0;
}
