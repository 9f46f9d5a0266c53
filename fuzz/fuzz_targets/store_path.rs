//! Reads text as a store path or content address: no panic, and one spelling.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use nix_data::{ContentAddress, StorePath};

fuzz_target!(|text: &str| {
    if let Ok(path) = text.parse::<StorePath>() {
        assert_eq!(path.to_string(), text);
        assert_eq!(
            StorePath::from_base_name(path.base_name()).as_ref(),
            Ok(&path)
        );
        assert!(!path.base_name().contains('/'));
    }
    if let Ok(path) = StorePath::from_base_name(text) {
        assert_eq!(path.base_name(), text);
        assert_eq!(format!("{}-{}", path.hash_part(), path.name()), text);
    }
    if let Ok((path, rest)) = StorePath::split(text) {
        assert_eq!(format!("{path}{rest}"), text);
    }
    if let Ok(address) = text.parse::<ContentAddress>() {
        assert_eq!(address.to_string().parse().as_ref(), Ok(&address));
        if let Ok(path) = address.store_path("name", &BTreeSet::new(), false) {
            assert!(address.names(&path, []));
        }
    }
});
