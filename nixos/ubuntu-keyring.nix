# The keys that sign Ubuntu, with which the packages of a template of it are verified: in Debian's package, as nixpkgs
# has none.
{
  lib,
  stdenvNoCC,
  fetchurl,
  dpkg,
}:

stdenvNoCC.mkDerivation {
  pname = "ubuntu-keyring";
  version = "2023.11.28.1-0.2";

  src = fetchurl {
    urls = [
      "https://deb.debian.org/debian/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1-0.2_all.deb"
      # Kept for ever, by its SHA-1.
      "https://snapshot.debian.org/file/0c97adf00d2c6b4a63d839c053d2a746cbf27105"
    ];
    name = "ubuntu-keyring_2023.11.28.1-0.2_all.deb";
    hash = "sha256-suftSEMb+eeXiugQu9ryUwk1cNbj+GTldbfBNVS4EXQ=";
  };

  nativeBuildInputs = [ dpkg ];
  unpackCmd = "dpkg-deb --extract $src source";
  installPhase = ''
    mkdir -p $out/share
    cp -r usr/share/keyrings $out/share/
  '';

  meta = {
    description = "OpenPGP keys of the Ubuntu archive";
    homepage = "https://launchpad.net/ubuntu/+source/ubuntu-keyring";
    license = lib.licenses.publicDomain;
    platforms = lib.platforms.all;
  };
}
