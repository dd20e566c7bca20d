# expects: services.operation-dbus.ml.qdrant.apiKeyFile
# expects: outside the Nix store
# expects: "/etc/secrets/qdrant-api-key"
{ pkgs, ... }:
{
  services.operation-dbus.ml.qdrant = {
    url = "https://qdrant.example.org:6334";
    apiKeyFile = "${pkgs.writeText "key" "secret"}";
  };
}
