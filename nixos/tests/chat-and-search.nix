# The chat and the search of a NixOS: on request alone, confined, and let in by token; the port open to others only where
# that is declared; the model a part of the system.
{
  name = "operation-dbus-chat-and-search";

  nodes = {
    machine = {
      imports = [ ./lib/host.nix ];
      services.operation-dbus = {
        ml.enable = true;
        mcp = {
          enable = true;
          # As behind a proxy, which is all that may come from elsewhere.
          address = "0.0.0.0";
          proxy = true;
          hosts = [ "machine" ];
          openFirewall = true;
        };
      };
      users.users.alice = {
        isNormalUser = true;
        extraGroups = [ "opdbus" ];
      };
    };
    other =
      { pkgs, ... }:
      {
        environment.systemPackages = [ pkgs.curl ];
      };
  };

  testScript = builtins.readFile ./lib/helpers.py + ''
    CODE = "curl --silent --output /dev/null --write-out '%{http_code}' --max-time 20"

    start_all()
    machine.wait_for_unit("mcp-chat.socket")
    machine.wait_for_unit("opdbus.service")

    with subtest("another host gets the page, and nothing else without a token"):
        other.wait_until_succeeds(f"{CODE} http://machine:8080/chat.html | grep --fixed-strings 200", timeout=60)
        for path in ["/", "/ws", "/mcp", "/session"]:
            assert other.succeed(f"{CODE} http://machine:8080{path}") == "401", path
        assert other.succeed(f"{CODE} --header 'Host: evil.example' http://machine:8080/chat.html") == "403"

    with subtest("a token lets its user in until it is revoked"):
        made = json.loads(machine.succeed("runuser --user alice -- op-dbus token create vm --role read --json"))
        signed_in = f"{CODE} --header 'Authorization: Bearer {made['secret']}' http://machine:8080/session"
        assert other.succeed(signed_in) == "200"
        machine.succeed("runuser --user alice -- op-dbus token revoke vm")
        assert other.succeed(signed_in) == "401"

    with subtest("nobody there is root"):
        pid = machine.succeed("systemctl show --property=MainPID --value mcp-chat.service").strip()
        assert machine.succeed(f"stat --format=%U /proc/{pid}").strip() == "opdbus-chat"

    with subtest("the search knows what is meant"):
        machine.wait_until_succeeds(
            "op-dbus model status --json | jq --exit-status '.search.loaded and .search.behind < 5'", timeout=300
        )
        found = answer(machine, "search 'access was taken away from somebody'")
        assert found["by"] == "meaning" and found["matches"][0]["operation"] == "token.revoke", found

    with subtest("all of it is well"):
        machine.succeed("op-dbus doctor search chat")
        machine.fail("systemctl --failed --quiet --no-legend | grep .")
  '';
}
