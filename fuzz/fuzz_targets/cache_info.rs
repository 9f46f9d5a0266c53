//! Reads text as a cache's description: no panic, and what is accepted is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nix_data::CacheInfo;

fuzz_target!(|text: &str| {
    if let Ok(info) = text.parse::<CacheInfo>() {
        assert_eq!(info.to_string().parse().as_ref(), Ok(&info));
    }
});
