//! `nival-agent` as a process, asked over its socket, with a hub whose answers the tests decide.

mod faults;
mod hub;
mod keeping;
mod preparing;
mod refusing;
mod scene;
