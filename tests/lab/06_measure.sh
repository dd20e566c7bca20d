# shellcheck shell=bash
# lab: installed
# How long a container takes to make, beside what it is made of.

test_container_create_is_measured_beside_its_parts() {
    local what
    # shellcheck disable=SC2016 # the lab's shell
    lab bash -euc '
        median() { sort -n | awk "{ v[NR] = \$1 } END { printf \"%.1f\n\", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }"; }
        timed() {
            local start=$EPOCHREALTIME
            "$@" >/dev/null
            awk -v a="$start" -v b="$EPOCHREALTIME" "BEGIN { print (b - a) * 1000 }" >>"$dir/$what"
        }
        dir=$(mktemp -d)
        base=/var/lib/op-dbus
        template=$base/@templates/debian-base/rootfs
        # The container that lxc-copy copies: the same tree.
        mkdir -p /var/lib/lxc/measure
        btrfs subvolume snapshot "$template" /var/lib/lxc/measure/rootfs >/dev/null
        printf "lxc.uts.name = measure\nlxc.rootfs.path = btrfs:/var/lib/lxc/measure/rootfs\n" >/var/lib/lxc/measure/config
        for i in $(seq 20); do
            what=created-and-started; timed op-dbus container create bench-$i
            op-dbus container delete bench-$i --force --yes >/dev/null
            what=created; timed op-dbus container create bench-$i --no-start
            op-dbus container delete bench-$i --yes >/dev/null
            what=snapshot; timed btrfs subvolume snapshot "$template" $base/bench-$i
            btrfs subvolume delete $base/bench-$i >/dev/null
            what=lxc-copy; timed lxc-copy --name measure --newname measure-$i --snapshot --backingstorage btrfs
            what=add-port; timed ovs-vsctl add-port ovsbr0 bench$i -- set interface bench$i type=internal
            ovs-vsctl del-port bench$i
        done
        for i in $(seq 20); do lxc-destroy --name measure-$i >/dev/null; done
        btrfs subvolume delete /var/lib/lxc/measure/rootfs >/dev/null; rm -r /var/lib/lxc/measure
        for what in created-and-started created snapshot lxc-copy add-port; do
            echo "$what $(median <"$dir/$what")"
        done' >"$OUT" 2>&1 || die "$(cat "$OUT")"
    show "medians of 20, in ms:"
    while read -r what milliseconds; do
        case $what in
            created-and-started) show "$milliseconds  op-dbus container create (its init runs)" ;;
            created) show "$milliseconds  op-dbus container create --no-start" ;;
            snapshot) show "$milliseconds  btrfs subvolume snapshot" ;;
            lxc-copy) show "$milliseconds  lxc-copy -s -B btrfs" ;;
            add-port) show "$milliseconds  ovs-vsctl add-port" ;;
        esac
    done < <(tail -n5 "$OUT")
    equal 5 "$(tail -n5 "$OUT" | awk '$2 > 0' | wc -l)" "measurements"
}
