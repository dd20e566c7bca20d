# web-01 was granted web-02, whose service is its web server; web-03 was granted nothing.
{
  services.operation-dbus.containers = {
    web-01.connect = [ "web-02" ];
    web-02.service = 80;
    web-03 = { };
  };
}
