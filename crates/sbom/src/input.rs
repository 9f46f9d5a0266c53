//! What a bill of materials is made from.

use env_spec::System;
use env_spec::generation::ClosurePath;
use env_spec::lockfile::LockedPackage;
use nix_data::StorePath;

/// One system of a generation. The same input gives the same documents, byte for byte.
///
/// The documents' digests are in the generation's record, so they cannot name the record's digest in turn.
#[derive(Debug, Clone)]
pub struct SbomInput<'a> {
    /// The environment, `owner/name`.
    pub environment: String,
    /// The generation's number.
    pub number: u64,
    /// The system.
    pub system: &'a System,
    /// The composed environment.
    pub environment_path: &'a StorePath,
    /// The packages that were asked for.
    pub packages: &'a [LockedPackage],
    /// Every store path that the environment needs, itself included.
    pub closure: &'a [ClosurePath],
    /// When the generation was made (RFC 3339, UTC).
    pub created: &'a str,
    /// The version of Nival that makes the documents.
    pub tool_version: &'a str,
}

impl SbomInput<'_> {
    /// Returns who owns the environment.
    pub(crate) fn owner(&self) -> &str {
        self.environment.split('/').next().unwrap_or_default()
    }

    /// Returns `owner/name:number`.
    pub(crate) fn label(&self) -> String {
        format!("{}:{}", self.environment, self.number)
    }

    /// Returns the time without fractions of a second: SPDX takes no others.
    pub(crate) fn created_in_seconds(&self) -> String {
        match self.created.split_once('.') {
            Some((seconds, fraction)) => {
                format!(
                    "{seconds}{}",
                    fraction.trim_start_matches(|one: char| one.is_ascii_digit())
                )
            }
            None => self.created.to_owned(),
        }
    }
}
