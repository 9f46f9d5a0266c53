//! Integration tests of nix-data: against the real Nix, with arbitrary and with hostile input.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod fuzz_seeds;
mod hostile_listing;
mod hostile_nar;
mod narinfo;
mod properties;
mod real_cache;
mod real_keys;
mod real_nar;
mod real_packages;
mod real_store_paths;
mod trees;
