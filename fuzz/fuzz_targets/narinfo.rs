//! Reads text as a narinfo: it must not panic, and what is accepted is read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nix_data::NarInfo;

fuzz_target!(|text: &str| {
    let Ok(info) = NarInfo::parse(text) else {
        return;
    };
    let written = info.to_string();
    let again = NarInfo::parse(&written).expect("a narinfo that was written is read");
    assert_eq!(again, info);
    assert_eq!(again.to_string(), written);
    assert_eq!(again.fingerprint(), info.fingerprint());
    let path = info
        .url
        .split('?')
        .next()
        .expect("a split has a first part");
    assert!(path.split('/').all(|part| !part.is_empty() && part != ".."));
    assert!(info.ca.is_some() || !info.is_content_addressed());
});
