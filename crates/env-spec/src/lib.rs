//! What an environment is: manifest, lock, composed tree, activation plan, generation.

pub mod activation;
pub mod believe;
pub mod compose;
pub mod diagnostic;
mod digest;
pub mod edit;
pub mod generation;
pub mod lockfile;
pub mod manifest;
mod reference;
pub mod revocation;
mod signed;
pub mod solve;
pub mod staleness;
mod system;

pub use digest::{Digest, DigestError};
pub use reference::{EnvironmentName, Pin, Reference, ReferenceError};
pub use signed::{LARGEST_RECORD, Record, Signed, SignedError, TrustedKeys};
pub use system::{System, SystemError};
