# The keys that sign Debian, with which a template's packages are verified. For a nixpkgs that does not
# have them yet (`pkgs.debian-archive-keyring`, since the summer of 2026).
{
  lib,
  stdenvNoCC,
  fetchurl,
  dpkg,
}:

stdenvNoCC.mkDerivation {
  pname = "debian-archive-keyring";
  version = "2025.1";

  src = fetchurl {
    urls = [
      "https://deb.debian.org/debian/pool/main/d/debian-archive-keyring/debian-archive-keyring_2025.1_all.deb"
      # Kept for ever, by its SHA-1.
      "https://snapshot.debian.org/file/d9ece07d6610a9ef3b3048c302d70daffbf8c4cc"
    ];
    name = "debian-archive-keyring_2025.1_all.deb";
    hash = "sha256-nqd3jkQxRMpJBmhzeoqyLdPnSLuZ6AXiLsBVq+s8f6w=";
  };

  nativeBuildInputs = [ dpkg ];
  unpackCmd = "dpkg-deb --extract $src source";
  installPhase = ''
    mkdir -p $out/share
    cp -r usr/share/keyrings $out/share/
  '';

  meta = {
    description = "OpenPGP keys of the Debian archive";
    homepage = "https://ftp-master.debian.org/keys.html";
    license = lib.licenses.publicDomain;
    platforms = lib.platforms.all;
  };
}
