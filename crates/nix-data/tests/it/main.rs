//! Integration tests of nix-data, in one binary.
