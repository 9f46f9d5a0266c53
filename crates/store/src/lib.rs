//! The local store: fetch, verify, place and present closures.
