# A secret that is given as a file is read where it lies: neither the store, nor the host spec, nor the journal, nor
# a container or a template has it, and nobody but root can read it.
{
  name = "operation-dbus-secret-not-in-store";

  nodes.machine =
    { lib, ... }:
    {
      imports = [ ./lib/host.nix ];
      services.operation-dbus = {
        netmaker = {
          enable = true;
          joinKeyFile = "/etc/secrets/netmaker-join-key";
        };
        containers.web-02.service = 80;
      };
      # As an admin, or a tool such as sops-nix, puts it there: before the services, and not by way of the store.
      # The test puts the key together, so that its script, which is in the store, does not have it.
      boot.postBootCommands = lib.mkAfter ''
        mkdir -p -m 0700 /etc/secrets
        (umask 077; echo "correct-horse-$((21 * 2))-battery" > /etc/secrets/netmaker-join-key)
      '';
    };

  testScript = builtins.readFile ./lib/helpers.py + ''
    machine.start()
    wait_for_containers(machine, "web-02")
    SECRET = "correct-horse-" + str(21 * 2) + "-battery"

    with subtest("the test would find it"):
        machine.succeed(f"grep --recursive --quiet {SECRET} /etc/secrets")

    with subtest("it is nowhere else"):
        machine.succeed("nix-store --query --requisites /run/current-system >/tmp/closure")
        machine.fail(f"xargs --arg-file=/tmp/closure grep --recursive --quiet --binary-files=text {SECRET}")
        machine.fail(f"grep --quiet {SECRET} /etc/opdbus/config.json")
        machine.fail(f"grep --recursive --quiet --binary-files=text {SECRET} /var/lib/op-dbus /run/opdbus")
        machine.fail(f"journalctl --output=cat --unit='opdbus*' | grep --quiet {SECRET}")

    with subtest("only root reads it"):
        assert machine.succeed("stat --format='%a %U' /etc/secrets/netmaker-join-key").strip() == "600 root"
  '';
}
