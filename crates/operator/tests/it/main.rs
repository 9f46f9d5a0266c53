//! Tests of the operator as a program, beside a real API server.

mod failures;
mod installing;
mod machine;
mod pinning;
mod refusals;
mod stage;
mod updates;
