//! Reads text as keys and a signature: no panic, and one spelling but for a last line feed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nix_data::{PublicKey, SecretKey, Signature};

fuzz_target!(|text: &str| {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let signature = text.parse::<Signature>();
    if let Ok(signature) = &signature {
        assert_eq!(signature.to_string(), line);
    }
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string(), line);
    }
    if let Ok(key) = text.parse::<SecretKey>() {
        assert_eq!(key.expose(), line);
        assert!(!format!("{key:?}").contains(&key.expose()));
        assert!(key.public_key().verify(b"message", &key.sign(b"message")));
        // The same 64 bytes are no signature of anything.
        let signature = signature.expect("a secret key has the form of a signature");
        assert!(!key.public_key().verify(b"message", &signature));
    }
});
