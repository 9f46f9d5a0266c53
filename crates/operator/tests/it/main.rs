//! Tests of the operator as a program, beside a real API server and on real nodes.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod failures;
mod installing;
mod machine;
mod neighbour;
mod pinning;
mod refusals;
mod rollouts;
mod stage;
mod trees;
mod updates;
