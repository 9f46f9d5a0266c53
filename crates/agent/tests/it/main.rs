//! `nival-agent` as a process, asked over its socket, with a hub whose answers the tests decide.

mod hub;
mod preparing;
mod scene;
