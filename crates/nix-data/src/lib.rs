//! Nix's formats, pure: hashes, base32, store paths, NAR, narinfo, signatures.
//!
//! Everything read here may come from a stranger: parsers are bounded, never panic, and say what
//! is wrong and where. What is written is bit-identical to what Nix itself writes.

pub mod base32;
mod cache_info;
mod content_address;
mod hash;
mod hashing;
pub mod nar;
mod narinfo;
pub mod references;
mod signature;
mod store_path;
mod text_serde;

pub use cache_info::{CacheInfo, CacheInfoError};
pub use content_address::{ContentAddress, ContentAddressError, ContentAddressMethod};
pub use hash::{Hash, HashAlgorithm, HashError};
pub use hashing::{HashingReader, HashingWriter};
pub use narinfo::{Compression, NarInfo, NarInfoError, UrlError};
pub use signature::{KeyError, PublicKey, SecretKey, Signature};
pub use store_path::{Ingestion, STORE_DIR, StorePath, StorePathError};
