# expects: networking.nftables.flushRuleset
# expects: Set it to false
{
  networking.nftables = {
    enable = true;
    flushRuleset = true;
  };
}
