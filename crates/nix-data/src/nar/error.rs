//! What can be wrong with a NAR or its listing.

use std::io;

use super::DEEPEST;

/// Why a NAR cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NarError {
    /// The source of the bytes failed.
    #[error("reading the NAR failed at byte {offset}")]
    Read {
        /// How many bytes were read.
        offset: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The destination of the bytes failed.
    #[error("writing the NAR failed")]
    Write(#[source] io::Error),
    /// It does not begin as a NAR does.
    #[error("the data is not a NAR")]
    Magic,
    /// The bytes ended in the middle.
    #[error("the NAR is cut off at byte {offset}")]
    CutOff {
        /// How many bytes there are.
        offset: u64,
    },
    /// Something follows the end.
    #[error("data follows the end of the NAR at byte {offset}")]
    Trailing {
        /// Where the NAR ends.
        offset: u64,
    },
    /// A string that is not the one the format has in this place.
    #[error("the NAR has {found:?} before byte {offset}, where {expected} must be")]
    Unexpected {
        /// Where the string ends.
        offset: u64,
        /// What must be there.
        expected: &'static str,
        /// What is there, shortened.
        found: String,
    },
    /// A string is longer than any that may be in this place.
    #[error(
        "the NAR has a string of {length} bytes before byte {offset}, where {most} is the most"
    )]
    TooLong {
        /// Where its length ends.
        offset: u64,
        /// The length.
        length: u64,
        /// The most allowed.
        most: usize,
    },
    /// The bytes that fill up a string are not zero.
    #[error("the NAR has padding that is not zero before byte {offset}")]
    Padding {
        /// Where the padding ends.
        offset: u64,
    },
    /// An entry has a name that no file may have.
    #[error("the NAR has an entry {name:?} whose name {problem}")]
    Name {
        /// The name, as far as it is text.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Entries are not in strictly ascending order.
    #[error("the NAR has entry {name:?} after {previous:?}: entries must be sorted and differ")]
    Order {
        /// The name.
        name: String,
        /// The name before it.
        previous: String,
    },
    /// A symlink has a target that no symlink may have.
    #[error("the NAR has a symlink whose target {problem}")]
    Target {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Directories lie too deep in each other.
    #[error("the NAR has directories more than {DEEPEST} deep")]
    TooDeep,
    /// The tree does not fit where it is to be held in memory.
    #[error("the NAR has more than {most} {what}, the most that is held in memory")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The most allowed.
        most: u64,
    },
    /// The caller did not give a file as many bytes as it said.
    #[error("a file of {size} bytes was given {given}")]
    Contents {
        /// The size that was written.
        size: u64,
        /// What came: `fewer` or `more`.
        given: &'static str,
    },
    /// The caller's calls make no archive.
    #[error("{call} is not possible at this point of a NAR")]
    Misuse {
        /// The call.
        call: &'static str,
    },
}

/// Why a listing cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// It is larger than any honest one.
    #[error("listing has {length} bytes; the most allowed is {most}")]
    TooLarge {
        /// Its length.
        length: usize,
        /// The most allowed.
        most: usize,
    },
    /// It is not JSON of the right form.
    #[error("listing is malformed")]
    Json(#[source] serde_json::Error),
    /// It has another version.
    #[error("listing has version {found}; only version 1 is known")]
    Version {
        /// The version.
        found: u64,
    },
    /// JSON has Unicode text only; Nix itself writes no listing in this case.
    #[error("the name or target {text:?} is not UTF-8, so there can be no listing of it")]
    NotUnicode {
        /// The name or target, as far as it is text.
        text: String,
    },
}

/// Returns the text of bytes that may be hostile, for an error message.
pub(super) fn shown(bytes: &[u8]) -> String {
    crate::hash::shortened(&String::from_utf8_lossy(bytes))
}
