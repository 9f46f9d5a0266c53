//! Integration tests of the hub: the real program on a free port, asked by its client, by raw HTTP and by the real Nix.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod access;
mod cache_files;
mod command_line;
mod crash;
mod fixtures;
mod harness;
mod hostile;
mod oidc;
mod push;
mod real_nix;
mod revocations;
mod waiting;
