# The files of the model by which the search knows what is meant, as its authors publish them (Apache-2.0). The same sums
# as in src/search/model.rs, which a test holds together.
{
  lib,
  fetchurl,
  linkFarm,
}:

let
  published = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main";
in
linkFarm "all-MiniLM-L6-v2" (
  lib.mapAttrsToList
    (name: sha256: {
      inherit name;
      path = fetchurl {
        url = "${published}/${name}";
        inherit sha256;
      };
    })
    {
      "model.safetensors" = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db";
      "tokenizer.json" = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037";
    }
)
