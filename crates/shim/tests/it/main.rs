//! Plays containerd to the shim.
