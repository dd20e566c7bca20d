# shellcheck shell=bash
# lab: installed
# Who may ask for what, and what of it is written down.

API=/var/lib/op-dbus/sockets/api/opdbus.sock
users() {
    lab bash -c '
        id stranger >/dev/null 2>&1 || useradd --create-home stranger
        id member >/dev/null 2>&1 || useradd --create-home --groups opdbus member'
}
as() { lab runuser --user "$1" -- "${@:2}"; }
create_by_bus() { as "$1" busctl --json=short call org.opdbus1 /org/opdbus1 org.opdbus1.Manager Call ss container.create "$2"; }
create_by_socket() {
    as "$1" curl --silent --show-error --fail-with-body --max-time 30 --unix-socket "$API" --data "$2" http://opdbus/v1/operations/container.create
}
refusals() { opdbus ledger show --json --operation container.create --limit 0 | jq '[.[] | select(.metadata.outcome == "refused")] | length'; }

test_a_stranger_is_refused_on_the_bus_and_on_the_socket() {
    local before
    users
    before=$(refusals)
    refused create_by_bus stranger '{"name": "web-05"}' >/dev/null
    contains "$(cat "$OUT")" "opdbus"
    equal $((before + 1)) "$(refusals)" "the refusal is in the ledger"
    equal stranger "$(opdbus ledger show --json --operation container.create --limit 1 | jq --raw-output '.[0].metadata.caller.user')"
    refused as stranger op-dbus container create web-05 >/dev/null
    refused create_by_socket stranger '{"name": "web-05"}' >/dev/null
    contains "$(cat "$OUT")" "root and members of the group opdbus may"
    equal $((before + 3)) "$(refusals)" "those of the command and of the socket, too"
    equal "stranger socket" "$(opdbus ledger show --json --operation container.create --limit 1 | jq --raw-output '.[0].metadata.caller | "\(.user) \(.via)"')"
    refused create_by_socket stranger "$(head --bytes 100000 /dev/zero | tr '\0' x)" >/dev/null
    refused opdbus container show web-05 >/dev/null
}

test_a_stranger_reaches_no_socket_of_a_container() {
    local path
    users
    for path in web-02.sock by-name/web-02/web-02.sock; do
        refused as stranger curl --silent --max-time 5 --unix-socket "/var/lib/op-dbus/sockets/containers/$path" http://web-02/ >/dev/null
    done
    refused as stranger ls /var/lib/op-dbus/sockets/containers >/dev/null
    refused as stranger ls /var/lib/op-dbus/sockets >/dev/null
    contains "$(as member curl --silent --max-time 5 --unix-socket /var/lib/op-dbus/sockets/containers/web-02.sock http://web-02/)" html
}

test_a_stranger_who_holds_connections_leaves_the_socket_to_others() {
    local log
    users
    log=$(mktemp)
    lab runuser --user stranger -- python3 -c '
import resource, socket, sys, time
# More than the daemon may have open, and than wait to be accepted.
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held = []
for _ in range(3000):
    one = socket.socket(socket.AF_UNIX)
    one.setblocking(False)
    for _ in range(20):
        try:
            one.connect(sys.argv[1])
            break
        except BlockingIOError:
            time.sleep(0.01)
    held.append(one)
print("held", flush=True)
time.sleep(20)' "$API" >"$log" &
    until_true 10 grep --quiet held "$log" >/dev/null
    rm "$log"
    as member curl --silent --show-error --fail-with-body --max-time 5 --unix-socket "$API" http://opdbus/v1/operations >/dev/null
    kill %% 2>/dev/null || true
}

test_a_member_of_opdbus_may_create_on_the_bus_and_on_the_socket() {
    users
    create_by_bus member '{"name": "web-05", "noStart": true}'
    create_by_socket member '{"name": "web-06", "noStart": true}'
    equal "member dbus" "$(opdbus ledger show --json --operation container.create --target web-05 --limit 1 | jq --raw-output '.[0].metadata.caller | "\(.user) \(.via)"')"
    equal "member socket" "$(opdbus ledger show --json --operation container.create --target web-06 --limit 1 | jq --raw-output '.[0].metadata.caller | "\(.user) \(.via)"')"
    as member op-dbus container delete web-05 --force --yes
    as member op-dbus container delete web-06 --force --yes
}

test_a_member_is_not_root() {
    users
    refused as member op-dbus apply >/dev/null
    refused as stranger op-dbus ledger show >/dev/null
    refused as stranger cat /var/lib/op-dbus/@timing/blockchain.db >/dev/null
    refused as member sqlite3 /var/lib/op-dbus/@timing/blockchain.db "delete from timing" >/dev/null
}

test_hostile_names_are_refused_with_the_reason_and_written_down() {
    local name before count=0 json long
    long=$(printf 'x%.0s' {1..300})
    users
    before=$(refusals)
    for name in ../x -rf 'a b' $'a\nb' "$long" '' . .. web/01 'web-01;id' 'Web' '%n' 'wéb'; do
        json=$(jq --null-input --compact-output --arg name "$name" '{name: $name}')
        refused create_by_bus member "$json" >/dev/null
        contains "$(cat "$OUT")" name "the reason of refusing '$name'"
        refused create_by_socket member "$json" >/dev/null
        refused lab op-dbus container create -- "$name" >/dev/null
        count=$((count + 3))
    done
    equal $((before + count)) "$(refusals)" "every refusal is in the ledger"
    equal "" "$(lab bash -c 'ls -A /var/lib/op-dbus/containers | grep -vE "^web-0[12]$" || true')" "made by a hostile name"
    opdbus ledger verify
    plan_is_empty
}

test_polkit_grants_one_operation_on_one_target_to_one_user() {
    local rule=/etc/polkit-1/rules.d/50-lab.rules before
    users
    equal "$(lab op-dbus --help >/dev/null && opdbus ledger show --json --limit 1 >/dev/null && echo there)" there
    # Every operation is known to polkit.
    contains "$(lab pkaction --action-id org.opdbus1.container.create --verbose)" auth_admin
    refused as stranger op-dbus container list >/dev/null
    lab bash -c "cat >$rule" <<'RULE'
polkit.addRule(function(action, subject) {
    if (subject.user == "stranger" && (action.id == "org.opdbus1.container.list" ||
        action.id == "org.opdbus1.container.show" && action.lookup("target") == "web-01"))
        return polkit.Result.YES;
});
RULE
    until_true 10 as stranger op-dbus container list >/dev/null
    as stranger op-dbus container show web-01 >/dev/null
    refused as stranger op-dbus container show web-02 >/dev/null
    refused as stranger op-dbus container stop web-01 >/dev/null
    equal "stranger polkit ok" "$(opdbus ledger show --json --operation container.show --target web-01 --limit 1 | jq --raw-output '.[0].metadata | "\(.caller.user) \(.authorised_by) \(.outcome)"')"
    # Who may anyway is not asked about; the socket knows nobody that polkit does.
    equal null "$(as member op-dbus container list >/dev/null && opdbus ledger show --json --operation container.list --limit 1 | jq --raw-output '.[0].metadata.authorised_by')"
    refused as stranger curl --silent --fail --unix-socket "$API" --data '{}' http://opdbus/v1/operations/container.list >/dev/null
    # Taken away, it is taken away; and without polkit what was granted by it is refused, and nothing else.
    lab rm "$rule"
    until_true 10 refused as stranger op-dbus container list >/dev/null
    lab systemctl mask --now --runtime polkit.service >/dev/null 2>&1
    before=$(opdbus container list --json | jq length)
    refused as stranger op-dbus container list >/dev/null
    equal "$before" "$(as member op-dbus container list --json | jq length)"
    lab systemctl unmask --runtime polkit.service >/dev/null 2>&1
}

test_another_host_is_asked_over_ssh_and_its_ledger_names_the_user() {
    users
    # The lab is its own other host.
    # shellcheck disable=SC2016 # the lab's shell
    lab bash -euc '
        mkdir -p --mode=0700 /root/.ssh
        [ -e /root/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N "" -f /root/.ssh/id_ed25519
        printf "Host localhost\n  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n  BatchMode yes\n" >/root/.ssh/config
        for user in member stranger; do
            install -d --mode=0700 --owner=$user --group=$user /home/$user/.ssh
            install --mode=0600 --owner=$user --group=$user /root/.ssh/id_ed25519.pub /home/$user/.ssh/authorized_keys
        done
        systemctl start ssh.service'
    equal 2 "$(opdbus --host member@localhost container list --json | jq '[.[] | select(.origin == "declared")] | length')"
    equal "member dbus" "$(opdbus ledger show --json --operation container.list --limit 1 | jq --raw-output '.[0].metadata.caller | "\(.user) \(.via)"')"
    contains "$(opdbus -H member@localhost container exec web-01 -- hostname)" web-01
    equal 7 "$(lab sh -c 'op-dbus -H member@localhost container exec web-01 -- sh -c "exit 7"; echo $?')"
    equal 6 "$(refused opdbus --host stranger@localhost container list)" "refused there"
    contains "$(cat "$OUT")" "stranger may not call container.list"
    equal 7 "$(refused opdbus --host nobody-of-that-name@localhost container list)" "not reached"
    contains "$(cat "$OUT")" "ssh nobody-of-that-name@localhost"
    refused opdbus --host=-oProxyCommand=false container list >/dev/null
    contains "$(cat "$OUT")" "USER@"
}
