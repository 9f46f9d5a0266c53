//! The store against real binary caches, a server with faults, and the kernel.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod caches;
mod collecting;
mod fetching;
mod presenting;
mod serving;
mod space;
