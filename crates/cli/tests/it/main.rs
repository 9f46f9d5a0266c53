//! The real `nival` program: what a user types, sees and gets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod configuration;
mod keys;
mod kubernetes;
mod laptop;
mod project;
mod publisher;
mod publishing;
mod revoking;
mod user;
