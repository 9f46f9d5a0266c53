//! Nix's formats, pure: hashes, base32, store paths, NAR, narinfo, signatures.
