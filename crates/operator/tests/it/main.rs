//! Tests of the operator as a program, beside a real API server and on real nodes.

mod failures;
mod installing;
mod machine;
mod neighbour;
mod pinning;
mod refusals;
mod rollouts;
mod stage;
mod updates;
