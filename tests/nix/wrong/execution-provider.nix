# expects: services.operation-dbus.ml.executionProvider
# expects: "cuda"
{
  services.operation-dbus.ml.executionProvider = "gpu";
}
