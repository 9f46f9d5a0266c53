//! `nival-agent`: the store as a node service.
