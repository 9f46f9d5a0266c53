//! `nival-hub`: environments, generations and a Nix binary cache per owner.
