//! Chooses the revision of the package set for each group of packages.

mod version;

pub use version::{VersionRequirement, VersionRequirementError, compare_versions};
