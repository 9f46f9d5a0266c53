//! The machine and kernel that packages are built for, as Nix names them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A system double such as `x86_64-linux`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct System(String);

/// Why a text names no system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a system: expected one of {}", System::KNOWN.join(", "))]
pub struct SystemError {
    text: String,
}

impl System {
    /// The systems that an environment may be locked for.
    pub const KNOWN: [&str; 4] = [
        "aarch64-darwin",
        "aarch64-linux",
        "x86_64-darwin",
        "x86_64-linux",
    ];

    /// Returns the name for an architecture and operating system as Rust's `std::env::consts` spells them.
    ///
    /// # Errors
    /// Fails for a machine that Nival does not know.
    pub fn of(architecture: &str, operating_system: &str) -> Result<Self, SystemError> {
        let kernel = if operating_system == "macos" {
            "darwin"
        } else {
            operating_system
        };
        format!("{architecture}-{kernel}").parse()
    }

    /// Returns every system that an environment may be locked for, sorted.
    #[must_use]
    pub fn all() -> Vec<Self> {
        Self::KNOWN
            .iter()
            .map(|name| Self((*name).to_owned()))
            .collect()
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for System {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for System {
    type Err = SystemError;

    fn from_str(text: &str) -> Result<Self, SystemError> {
        if Self::KNOWN.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        Err(SystemError {
            text: text.chars().take(100).collect(),
        })
    }
}

impl Serialize for System {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for System {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
