//! Reads text as base 32 or a hash: no panic, and base 32 has one spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nix_data::{Hash, base32};

fuzz_target!(|text: &str| {
    if let Ok(bytes) = base32::decode(text) {
        assert_eq!(base32::encode(&bytes), text);
    }
    if let Ok(hash) = text.parse::<Hash>() {
        let hex = format!("{}:{}", hash.algorithm(), hash.to_hex());
        for spelling in [hash.to_sri(), hash.to_nix32(), hex] {
            assert_eq!(spelling.parse().as_ref(), Ok(&hash));
        }
    }
});
