# Who is neither root nor in the group opdbus gets nothing, on the bus and on the socket, reads why, and the ledger
# has it. Who is in it by services.operation-dbus.users operates the host, and is not root.
{ pkgs, ... }:

{
  name = "operation-dbus-refused-user";

  nodes.machine = {
    imports = [ ./lib/host.nix ];
    users.users = {
      alice.isNormalUser = true;
      stranger.isNormalUser = true;
    };
    services.operation-dbus = {
      users = [ "alice" ];
      containers.web-02.service = 80;
    };
    environment.systemPackages = [ pkgs.sqlite ];
  };

  testScript = builtins.readFile ./lib/helpers.py + ''
    API = "/var/lib/op-dbus/sockets/api/opdbus.sock"
    BUS = "busctl call org.opdbus1 /org/opdbus1 org.opdbus1.Manager Call ss container.create"
    CURL = f"curl --silent --show-error --fail-with-body --max-time 30 --unix-socket {API}"
    CREATE = "http://opdbus/v1/operations/container.create"


    def as_user(user, command):
        return f"runuser --user {user} -- {command}"


    def last():
        return answer(machine, "ledger show --operation container.create --limit 1")[0]["metadata"]


    machine.start()
    wait_for_containers(machine, "web-02")

    with subtest("a stranger is refused on the bus, and it is written down"):
        said = machine.fail(as_user("stranger", f"{BUS} '{{\"name\": \"web-05\"}}'") + " 2>&1")
        assert "opdbus" in said, said
        assert (last()["outcome"], last()["caller"]["user"]) == ("refused", "stranger"), last()
        machine.fail(as_user("stranger", "op-dbus container create web-05"))

    with subtest("a stranger is refused on the socket, and it is written down"):
        said = machine.fail(as_user("stranger", f"{CURL} --data '{{\"name\": \"web-05\"}}' {CREATE}") + " 2>&1")
        assert "root and members of the group opdbus may" in said, said
        assert (last()["outcome"], last()["caller"]["via"]) == ("refused", "socket"), last()

    with subtest("a stranger reads nothing"):
        for command in [
            "op-dbus ledger show",
            "cat /var/lib/op-dbus/@timing/blockchain.db",
            "ls /var/lib/op-dbus/sockets/containers",
            "ls /var/lib/op-dbus/containers/web-02/rootfs",
            "curl --silent --max-time 5 --unix-socket /var/lib/op-dbus/sockets/containers/web-02.sock http://web-02/",
        ]:
            machine.fail(as_user("stranger", command))
        machine.fail("op-dbus container show web-05")

    with subtest("a member operates the host"):
        machine.succeed(as_user("alice", f"{BUS} '{{\"name\": \"web-05\"}}'"))
        assert (last()["outcome"], last()["caller"]["user"]) == ("ok", "alice"), last()
        machine.succeed(as_user("alice", f"{CURL} --data '{{\"name\": \"web-06\"}}' {CREATE}"))
        machine.succeed(as_user("alice", "op-dbus container delete web-05 --force --yes"))

    with subtest("a member is not root"):
        machine.fail(as_user("alice", "op-dbus apply"))
        machine.fail(as_user("alice", "sqlite3 /var/lib/op-dbus/@timing/blockchain.db 'delete from timing'"))

    with subtest("who leaves the group is a stranger at once"):
        machine.succeed("gpasswd --delete alice opdbus")
        machine.fail(as_user("alice", "op-dbus container create web-07"))
        machine.succeed("op-dbus ledger verify")
  '';
}
