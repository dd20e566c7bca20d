# Types that refuse what the programs would refuse, with a description that says what is right: it is
# part of the module system's error.
{ lib }:

let
  checked =
    name: description: check:
    lib.mkOptionType {
      inherit name description;
      descriptionClass = "noun";
      check = value: lib.isString value && check value;
      merge = lib.mergeEqualOption;
    };
  matches = regex: text: builtins.match regex text != null;

  octets =
    text:
    let
      found = builtins.match "([0-9]{1,3})\\.([0-9]{1,3})\\.([0-9]{1,3})\\.([0-9]{1,3})" text;
      # Leading zeros are refused: some read them as octal.
      plain = octet: octet == "0" || !(lib.hasPrefix "0" octet);
    in
    if found != null && lib.all plain found then map lib.toInt found else [ 999 ];
  isAddress = text: lib.all (octet: octet <= 255) (octets text);
  toNumber = text: lib.foldl' (number: octet: number * 256 + octet) 0 (octets text);

  parseSubnet =
    text:
    let
      parts = lib.splitString "/" text;
      prefix = lib.toInt (lib.last parts);
      size = lib.foldl' (number: _: number * 2) 1 (lib.range 1 (32 - prefix));
      network = toNumber (lib.head parts);
    in
    if
      matches "[0-9.]+/[0-9]{1,2}" text
      && isAddress (lib.head parts)
      && lib.elem (lib.last parts) (map toString (lib.range 16 29))
      && network / size * size == network
    then
      { inherit network size; }
    else
      null;

  nameRegex = "[a-z]([a-z0-9-]{0,30}[a-z0-9])?";
in
{
  inherit isAddress toNumber parseSubnet;

  # Attribute names have no type: this is for assertions.
  isName = matches nameRegex;
  nameRule = "1 to 32 of a-z, 0-9 and '-', beginning with a letter and not ending in '-'";

  name =
    checked "operationDbusName"
      "name (1 to 32 of a-z, 0-9 and '-', beginning with a letter, not ending in '-')"
      (matches nameRegex);

  interface =
    checked "interfaceName"
      "name of a network interface (1 to 15 letters, digits, '-' and '_', beginning with a letter)"
      (matches "[A-Za-z][A-Za-z0-9_-]{0,14}");

  destination =
    checked "checkpointsDestination" "\"journal\", or absolute path below / without '..'"
      (
        text:
        text == "journal"
        || (matches "/.+" text && !(lib.any (part: part == ".." || part == ".") (lib.splitString "/" text)))
      );

  address = checked "ipv4Address" "IPv4 address, such as 10.0.0.5" isAddress;

  # The programs read IPv6 addresses too; which of those are right is left to them.
  anyAddress = checked "ipAddress" "IP address, such as 9.9.9.9 or 2620:fe::fe" (
    text: isAddress text || matches "[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*" text
  );

  subnet =
    checked "ipv4Subnet"
      "IPv4 network of 16 to 29 bits, such as 10.0.0.0/24 (a network's own address, not one in it)"
      (text: parseSubnet text != null);

  size = checked "size" "size: a whole number and K, M, G or T, such as 20G" (
    matches "[0-9]+[KMGT]?"
  );

  cpuList = checked "cpuList" "list of processors, such as 0-7 or 0,2,4" (
    matches "[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*"
  );

  subvolume = checked "subvolumeName" "name of a subvolume ('@', then 1 to 31 of a-z, 0-9 and '-')" (
    matches "@[a-z0-9][a-z0-9-]{0,30}"
  );

  # Goes into unit files, where spaces, quotes and '%' mean something.
  plainPath =
    checked "plainPath"
      "absolute path below /, without '..', spaces or quotes, such as /var/lib/op-dbus"
      (
        text:
        matches "(/[^/[:space:][:cntrl:]%\"'\\]+)+/?" text
        && !(lib.any (part: part == "." || part == "..") (lib.splitString "/" text))
      );

  service =
    checked "serviceAddress"
      "place where a service listens: a port (80), an address and port (127.0.0.1:80) or a socket's path (/run/app.sock)"
      (
        text:
        let
          port = builtins.match "(.*:)?([0-9]{1,5})" text;
          number = lib.toIntBase10 (lib.elemAt port 1);
          host = lib.elemAt port 0;
        in
        if lib.hasPrefix "/" text then
          matches "/[A-Za-z0-9/._@+-]{1,106}" text
        else
          port != null
          && number > 0
          && number < 65536
          && (host == null || isAddress (lib.removeSuffix ":" host) || matches "\\[[0-9A-Fa-f:.]+]:" host)
      );

  word =
    what: example: more:
    checked "word" "${what}, such as ${example}" (matches "[A-Za-z0-9${more}][A-Za-z0-9${more}-]*");
}
