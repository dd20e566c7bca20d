//! What `nft -j list table` prints, from any bytes.

use serde_json::json;

use super::ruleset::{listing, seal, sealing};
use crate::spec::HostSpec;

/// What is kept is kept when it is listed again, whatever it is: a table has one digest.
pub(crate) fn tables(data: &[u8]) {
    let Ok((kept, _)) = listing(data) else { return };
    let again = json!({ "nftables": kept }).to_string();
    let Ok((twice, none)) = listing(again.as_bytes()) else { return };
    assert_eq!((&twice, none), (&kept, None), "the seal is not part of what is sealed");
    let seal = seal(&HostSpec::default(), &kept);
    assert!(!seal.contains(['"', '\n']) && sealing(&seal).contains(&seal));
}
