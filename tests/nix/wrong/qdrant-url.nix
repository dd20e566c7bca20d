# expects: services.operation-dbus.ml.qdrant.url
# expects: https?
{
  services.operation-dbus.ml.qdrant.url = "qdrant.example.org:6334";
}
