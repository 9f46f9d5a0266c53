//! Why an environment cannot be composed.

use std::fmt;

use nix_data::StorePath;
use nix_data::nar::NarError;

use super::ContentsFailure;
use crate::manifest::as_key;

/// Who brings a store path into an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The id in `[install]`.
    pub install_id: String,
    /// The store path.
    pub path: StorePath,
}

/// Why an environment cannot be composed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// Two packages have different files at one place.
    #[error(
        "packages {first} and {second} both have {place} (priority {priority}); to keep that of {0}, \
         set {1}.priority = {2} under [install] in the manifest: the lower number wins",
        first.install_id, as_key(&second.install_id), priority.saturating_add(1)
    )]
    Conflict {
        /// The path in the environment.
        place: String,
        /// One package.
        first: Box<Owner>,
        /// The other.
        second: Box<Owner>,
        /// The priority of both.
        priority: u32,
    },
    /// One package has a directory where another has a file.
    #[error(
        "{place} is a folder in package {folder} and a file in package {file} (priority {priority}); to keep \
         the folder, set {0}.priority = {1} under [install] in the manifest: the lower number wins",
        as_key(&file.install_id), priority.saturating_add(1)
    )]
    Kinds {
        /// The path in the environment.
        place: String,
        /// The package with the directory.
        folder: Box<Owner>,
        /// The package with the file.
        file: Box<Owner>,
        /// The priority of both.
        priority: u32,
    },
    /// A package is to install an output that it lacks.
    #[error("package {install_id} has no output {output:?}; it has {available}")]
    Output {
        /// The id.
        install_id: String,
        /// The output.
        output: String,
        /// The outputs it has.
        available: String,
    },
    /// A package is one file.
    #[error("package {owner} is a single file, not a folder: it cannot be part of an environment")]
    SingleFile {
        /// The package.
        owner: Box<Owner>,
    },
    /// What lies in a store path is not known.
    #[error("cannot read what lies in {path}")]
    Contents {
        /// The store path.
        path: StorePath,
        /// Why.
        #[source]
        source: ContentsFailure,
    },
    /// A list of propagated packages holds something else.
    #[error("{path}/{file} names {word:?}, which is no store path")]
    Propagated {
        /// The store path.
        path: StorePath,
        /// The file in it.
        file: &'static str,
        /// The word.
        word: String,
    },
    /// More than any honest environment has.
    #[error("environment has too many {what} (more than {most}), first at {place}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        most: usize,
        /// Where.
        place: String,
    },
    /// The tree cannot be written as a NAR.
    #[error("the composed tree cannot be archived")]
    Tree(#[source] NarError),
    /// The closure has a hole.
    #[error("{needed_by} needs {path}, about which nothing is known")]
    NotInClosure {
        /// The store path.
        path: StorePath,
        /// What refers to it.
        needed_by: StorePath,
    },
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.install_id, self.path.name())
    }
}
