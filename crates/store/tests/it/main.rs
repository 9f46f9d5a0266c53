//! The store against real binary caches, a server with faults, and the kernel.

mod caches;
mod collecting;
mod fetching;
mod presenting;
