//! Stories through all parts: a laptop, a hub and a node without Nix, each test in a world of its own.

mod faults;
mod laptop;
mod pods;
mod refusals;
mod tampering;
