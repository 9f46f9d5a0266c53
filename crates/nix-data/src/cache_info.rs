//! `nix-cache-info`: what a binary cache says of itself.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use crate::hash::shortened;

/// The largest file that is read: honest ones have three lines.
const LARGEST: usize = 64 << 10;

/// The contents of a cache's `nix-cache-info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheInfo {
    /// The store that the paths belong to.
    pub store_dir: String,
    /// Whether clients may ask for many paths at once.
    pub want_mass_query: bool,
    /// Its rank among caches; lower is asked first. Nix takes 50 where none is given.
    pub priority: Option<u32>,
}

/// Why a text is not a `nix-cache-info`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheInfoError {
    /// It is larger than any honest one.
    #[error("nix-cache-info has {length} bytes; the most allowed is {LARGEST}")]
    TooLarge {
        /// Its length.
        length: usize,
    },
    /// It does not say which store it is for.
    #[error("nix-cache-info has no `StoreDir`: this is not a Nix binary cache")]
    NoStoreDir,
    /// The same key stands there twice.
    #[error("nix-cache-info has {key:?} twice")]
    Twice {
        /// The key.
        key: &'static str,
    },
    /// A value cannot be read.
    #[error("nix-cache-info has an invalid {key}: {value:?}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value, shortened.
        value: String,
    },
}

impl FromStr for CacheInfo {
    type Err = CacheInfoError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > LARGEST {
            return Err(CacheInfoError::TooLarge { length: text.len() });
        }
        let [mut store_dir, mut want_mass_query, mut priority] = [None; 3];
        // Lines without a colon and unknown keys are skipped, as Nix skips them.
        for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let (slot, key) = match key {
                "StoreDir" => (&mut store_dir, "StoreDir"),
                "WantMassQuery" => (&mut want_mass_query, "WantMassQuery"),
                "Priority" => (&mut priority, "Priority"),
                _ => continue,
            };
            if slot.replace(value.trim()).is_some() {
                return Err(CacheInfoError::Twice { key });
            }
        }
        let invalid = |key, value: &str| CacheInfoError::Value {
            key,
            value: shortened(value),
        };
        let store_dir = store_dir.ok_or(CacheInfoError::NoStoreDir)?;
        if !store_dir.starts_with('/') || store_dir.contains(char::is_control) {
            return Err(invalid("StoreDir", store_dir));
        }
        Ok(Self {
            store_dir: store_dir.to_owned(),
            want_mass_query: want_mass_query == Some("1"),
            priority: priority
                .map(|value| value.parse().map_err(|_| invalid("Priority", value)))
                .transpose()?,
        })
    }
}

impl Display for CacheInfo {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "StoreDir: {}", self.store_dir)?;
        if self.want_mass_query {
            writeln!(formatter, "WantMassQuery: 1")?;
        }
        if let Some(priority) = self.priority {
            writeln!(formatter, "Priority: {priority}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_files_come_back() {
        for text in [
            "StoreDir: /nix/store\n",
            "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n",
        ] {
            assert_eq!(text.parse::<CacheInfo>().unwrap().to_string(), text);
        }
        let sloppy = "Hello\nStoreDir:/nix/store \nWantMassQuery: 0\nFuture: x\n";
        let info: CacheInfo = sloppy.parse().unwrap();
        assert_eq!(info.to_string(), "StoreDir: /nix/store\n");
    }

    #[test]
    fn wrong_files_are_refused_with_the_cause() {
        let error = |text: &str| text.parse::<CacheInfo>().unwrap_err();
        assert_eq!(error("<html>"), CacheInfoError::NoStoreDir);
        assert!(matches!(
            error("StoreDir: nix"),
            CacheInfoError::Value { .. }
        ));
        assert!(matches!(
            error("StoreDir: /a\nStoreDir: /b"),
            CacheInfoError::Twice { .. }
        ));
        assert!(matches!(
            error("StoreDir: /a\nPriority: -1"),
            CacheInfoError::Value { .. }
        ));
        assert!(matches!(
            error(&" ".repeat(LARGEST + 1)),
            CacheInfoError::TooLarge { .. }
        ));
    }
}
