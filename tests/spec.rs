//! Promises of the host spec that hold for any of them.

#[path = "support/specs.rs"]
mod specs;

use proptest::prelude::*;

proptest! {
    #[test]
    fn a_host_spec_survives_being_written_and_read(document in specs::document()) {
        let spec = specs::read(&document);
        let again = opdbus::spec::parse(&opdbus::spec::render(&spec));
        prop_assert_eq!(again.map_err(|e| e.to_string()), Ok(spec));
    }
}
