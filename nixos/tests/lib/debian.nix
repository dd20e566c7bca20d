# Root file systems of Debian, for virtual machines that have no network: `host` is the Debian on which the installer
# runs, `guest` the containers' template. Each is a directory with root.tar.zst. Every package is pinned by its hash
# (./debian.lock), which apt took from the release that Debian signed.
{ pkgs }:

let
  inherit (pkgs) lib;

  lines = map (lib.splitString " ") (
    lib.filter (line: line != "" && !(lib.hasPrefix "#" line)) (
      lib.splitString "\n" (builtins.readFile ./debian.lock)
    )
  );
  named = name: map lib.tail (lib.filter (line: lib.head line == name) lines);
  snapshot = lib.head (lib.head (named "snapshot"));

  package =
    line:
    let
      path = lib.head line;
    in
    pkgs.fetchurl {
      name = lib.replaceStrings [ "%2b" "%3a" "~" ] [ "+" "-" "-" ] (baseNameOf path);
      urls = [
        "https://deb.debian.org/debian/${path}"
        # Kept for ever.
        "https://snapshot.debian.org/archive/debian/${snapshot}/${path}"
      ];
      sha256 = lib.last line;
    };

  # Debian's own scripts want to be root, and to mount: in a virtual machine they can.
  tree =
    name:
    pkgs.vmTools.runInLinuxVM (
      pkgs.runCommand "debian-${name}"
        {
          memSize = 3072;
          nativeBuildInputs = [
            pkgs.dpkg
            pkgs.gnutar
            pkgs.util-linux
            pkgs.zstd
          ];
          debs = map package (named name);
        }
        ''
          source ${./debian-tree.sh}
          mkdir -p $out tree
          # shellcheck disable=SC2086 # a word each
          debian_tree "$PWD/tree" $debs
          tar --create --zstd --numeric-owner --sort=name --file $out/root.tar.zst --directory tree .
        ''
    );
in
{
  host = tree "host";
  guest = tree "guest";
}
