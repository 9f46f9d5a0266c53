//! Serial numbers that follow from a document's content: the same content has the same number.

use env_spec::Digest;

/// Returns a UUID (version 8 of RFC 9562: its bits are of our own making) from the SHA-256 of a content.
pub(crate) fn uuid(content: &[u8]) -> String {
    let hex = Digest::of(content).hex();
    let variant = match hex.as_bytes()[16] {
        b'0'..=b'3' => '8',
        b'4'..=b'7' => '9',
        b'8' | b'9' | b'a' | b'b' => 'a',
        _ => 'b',
    };
    format!(
        "{}-{}-8{}-{variant}{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        let found = uuid(b"content");
        assert_eq!(found.len(), 36);
        assert_eq!(found.as_bytes()[14], b'8');
        assert!(b"89ab".contains(&found.as_bytes()[19]), "{found}");
        assert_eq!(found, uuid(b"content"));
        assert_ne!(found, uuid(b"other"));
    }
}
