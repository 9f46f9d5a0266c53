//! `containerd-shim-nival-v2`: runs containers with Nix environments.
