//! What can be wrong with a narinfo.

use super::parse::{LARGEST, LONGEST_LINE};
use super::url::UrlError;
use crate::{ContentAddressError, HashAlgorithm, HashError, KeyError, StorePathError};

/// Why a text is not a narinfo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NarInfoError {
    /// It is larger than any honest one.
    #[error("narinfo has {length} bytes; the most allowed is {LARGEST}")]
    TooLarge {
        /// Its length.
        length: usize,
    },
    /// The last line has no end: the file was cut off.
    #[error("narinfo is cut off: its last line {line} has no end")]
    CutOff {
        /// The line's number.
        line: usize,
    },
    /// A line is not `Key: value`.
    #[error("narinfo line {line} is not of the form `Key: value`: {text:?}")]
    Line {
        /// The line's number.
        line: usize,
        /// The line, shortened.
        text: String,
    },
    /// A line is longer than any honest one.
    #[error("narinfo line {line} has {length} bytes; the most allowed is {LONGEST_LINE}")]
    LongLine {
        /// The line's number.
        line: usize,
        /// Its length.
        length: usize,
    },
    /// The same key stands there twice.
    #[error("narinfo has {key:?} twice")]
    Twice {
        /// The key.
        key: &'static str,
    },
    /// A key is missing.
    #[error("narinfo has no {key:?}")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// More signatures or references than any honest one has.
    #[error("narinfo has more than {most} of {key}")]
    TooMany {
        /// The key.
        key: &'static str,
        /// The most allowed.
        most: usize,
    },
    /// A size is not a number, or zero.
    #[error("narinfo has an invalid {key}: {value:?}")]
    Number {
        /// The key.
        key: &'static str,
        /// The value, shortened.
        value: String,
    },
    /// The compression is not one of those that Nival reads.
    #[error("narinfo has compression {name:?}; none, xz, zstd and bzip2 are supported")]
    Compression {
        /// The compression, shortened.
        name: String,
    },
    /// The system has characters that no system's name has.
    #[error("narinfo has an invalid System: {name:?}")]
    System {
        /// The system, shortened.
        name: String,
    },
    /// A hash is of another algorithm.
    #[error("narinfo has a {algorithm} {key}; it must be sha256")]
    Algorithm {
        /// The key.
        key: &'static str,
        /// The algorithm.
        algorithm: HashAlgorithm,
    },
    /// The URL leads out of the cache.
    #[error("narinfo has an invalid URL")]
    Url(#[source] UrlError),
    /// A hash cannot be read.
    #[error("narinfo has an invalid {key}")]
    Hash {
        /// The key.
        key: &'static str,
        /// What is wrong.
        #[source]
        source: HashError,
    },
    /// A store path cannot be read.
    #[error("narinfo has an invalid store path in {key}")]
    StorePath {
        /// The key.
        key: &'static str,
        /// What is wrong.
        #[source]
        source: StorePathError,
    },
    /// A signature cannot be read.
    #[error("narinfo has an invalid signature")]
    Signature(#[source] KeyError),
    /// The content address cannot be read.
    #[error("narinfo has an invalid content address")]
    ContentAddress(#[source] ContentAddressError),
}
