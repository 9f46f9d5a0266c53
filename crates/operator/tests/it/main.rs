//! Tests of the operator as a program, beside a real API server.

mod installing;
mod machine;
mod neighbour;
