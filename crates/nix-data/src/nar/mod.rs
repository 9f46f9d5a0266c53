//! NAR, Nix's archive format: one tree, one byte sequence.
//!
//! [`Reader`] and [`Writer`] stream in constant memory; [`Node`] is a whole tree in memory;
//! [`Listing`] is a tree without its contents, as `.ls` files have it.

mod error;
mod listing;
mod node;
mod read;
mod write;

pub use error::{ListingError, NarError};
pub use listing::{Listing, ListingNode};
pub use node::Node;
pub use read::{Contents, Event, Reader};
pub use write::Writer;

/// The first string of every NAR.
const MAGIC: &[u8] = b"nix-archive-1";

/// The longest name of an entry, as file systems have it.
pub const LONGEST_NAME: usize = 255;

/// The longest target of a symlink, as the kernel has it.
pub const LONGEST_TARGET: usize = 4095;

/// How many directories may lie in each other.
///
/// Nix took any number, and takes 64 since its 2.34.8: what older ones made is still read here.
pub const DEEPEST: usize = 256;

/// Returns how many zeros follow a string of this length.
const fn padding(length: u64) -> usize {
    (length.wrapping_neg() % 8) as usize
}

/// Returns what is wrong with the name of an entry, if anything is.
fn name_problem(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("is empty"),
        b"." | b".." => Some("would lead to another directory"),
        _ if name.len() > LONGEST_NAME => Some("is longer than 255 bytes"),
        _ if name.contains(&b'/') => Some("contains a slash"),
        _ if name.contains(&0) => Some("contains a NUL byte"),
        _ => None,
    }
}

/// Returns what is wrong with the target of a symlink, if anything is.
fn target_problem(target: &[u8]) -> Option<&'static str> {
    match target {
        b"" => Some("is empty"),
        _ if target.len() > LONGEST_TARGET => Some("is longer than 4095 bytes"),
        _ if target.contains(&0) => Some("contains a NUL byte"),
        _ => None,
    }
}
