//! Reads bytes as a listing: no panic, no unbounded depth, and what is accepted is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nix_data::nar::{Listing, ListingNode};

fuzz_target!(|bytes: &[u8]| {
    let Ok(listing) = Listing::from_json(bytes) else {
        return;
    };
    let json = listing.to_json().expect("JSON's own text is Unicode");
    assert_eq!(
        Listing::from_json(json.as_bytes()).expect("it is read again"),
        listing
    );
    assert_eq!(listing.lookup(""), Some(&listing.root));
    if let ListingNode::Directory { entries } = &listing.root {
        for (name, node) in entries {
            assert!(!name.contains(&b'/') && name != b"..");
            assert_eq!(listing.lookup(name), Some(node));
        }
    }
});
