# expects: services.operation-dbus.ovs.datapath
# expects: "userspace"
{
  services.operation-dbus.ovs.datapath = "dpdk";
}
