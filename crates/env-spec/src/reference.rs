//! How environments and their generations are named: `owner/name`, `owner/name:12@sha256:…`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Digest;

/// References come from pod annotations, so their length is bounded before anything else is looked at.
const LONGEST_REFERENCE: usize = 512;
const LONGEST_NAME: usize = 63;

/// An environment: its owner and its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvironmentName {
    owner: String,
    name: String,
}

/// What a user writes to name an environment or one of its generations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The hub's address, where it is not the configured one.
    pub hub: Option<String>,
    /// The environment.
    pub environment: EnvironmentName,
    /// The generation's number; with neither number nor digest the live one is meant.
    pub number: Option<u64>,
    /// The generation's digest.
    pub digest: Option<Digest>,
}

/// Exactly one generation: environment, number and digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pin {
    /// The hub's address, where it is not the configured one.
    pub hub: Option<String>,
    /// The environment.
    pub environment: EnvironmentName,
    /// The generation's number.
    pub number: u64,
    /// The generation's digest.
    pub digest: Digest,
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Longer than any honest reference.
    #[error("reference is {length} bytes long; the longest allowed is {LONGEST_REFERENCE}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// An owner or name with characters that are not allowed.
    #[error(
        "{part:?} in reference {reference:?} is not a valid {what}: use 1 to 63 of a-z, 0-9, '-', '_' and '.', beginning and ending with a letter or digit"
    )]
    BadPart {
        /// The part.
        part: String,
        /// Owner, name or hub address.
        what: &'static str,
        /// The whole reference.
        reference: String,
    },
    /// Not `owner/name…` at all.
    #[error(
        "{reference:?} is not a reference: expected owner/name, owner/name:12 or owner/name@sha256:…"
    )]
    Shape {
        /// The whole reference.
        reference: String,
    },
    /// The part after ':' is no generation number.
    #[error("{number:?} in reference {reference:?} is not a generation number: expected 1 or more")]
    BadNumber {
        /// The part after the colon.
        number: String,
        /// The whole reference.
        reference: String,
    },
    /// The part after '@' is no digest.
    #[error("reference {reference:?} has a bad digest")]
    BadDigest {
        /// The whole reference.
        reference: String,
        /// What is wrong with the digest.
        #[source]
        source: crate::DigestError,
    },
    /// A pin lacks number or digest.
    #[error("{reference:?} is not a pin: expected owner/name:12@sha256:…")]
    NotAPin {
        /// The whole reference.
        reference: String,
    },
}

impl EnvironmentName {
    /// Returns the name made of these two parts.
    ///
    /// # Errors
    /// Fails when either has characters that are not allowed.
    pub fn new(owner: &str, name: &str) -> Result<Self, ReferenceError> {
        format!("{}/{}", shown(owner), shown(name)).parse()
    }

    /// Returns the owner.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns the name below its owner.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Hostile text is shown shortened; Debug formatting escapes its control characters.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

fn is_valid_part(part: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    (1..=LONGEST_NAME).contains(&bytes.len())
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes
            .iter()
            .all(|byte| alphanumeric(byte) || matches!(byte, b'-' | b'_' | b'.'))
}

/// A hub in a reference is `host` or `host:port`; a dot, a port or `localhost` tells it from an owner.
fn is_valid_hub(text: &str) -> bool {
    let (host, port) = text
        .split_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port)));
    let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    port_is_good
        && (host.contains('.') || port.is_some() || host == "localhost")
        && host.len() <= 253
        && host.split('.').all(is_valid_part)
}

impl Reference {
    /// Tells whether a generation is one that this reference means. Which hubs are meant is not looked at: pins are made at the
    /// configured one and do not name it.
    #[must_use]
    pub fn means(&self, pin: &Pin) -> bool {
        pin.environment == self.environment
            && self.number.is_none_or(|number| number == pin.number)
            && self.digest.is_none_or(|digest| digest == pin.digest)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.len() > LONGEST_REFERENCE {
            return Err(ReferenceError::TooLong { length: text.len() });
        }
        let reference = || shown(text);
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|source| ReferenceError::BadDigest {
                    reference: reference(),
                    source,
                })?;
                (rest, Some(digest))
            }
        };
        let mut parts: Vec<&str> = rest.split('/').collect();
        let hub = match parts.len() {
            2 => None,
            3 if is_valid_hub(parts[0]) => Some(parts.remove(0).to_owned()),
            3 => {
                return Err(ReferenceError::BadPart {
                    part: shown(parts[0]),
                    what: "hub address",
                    reference: reference(),
                });
            }
            _ => {
                return Err(ReferenceError::Shape {
                    reference: reference(),
                });
            }
        };
        let (name, number) = match parts[1].split_once(':') {
            None => (parts[1], None),
            Some((name, number)) => {
                let parsed = number
                    .parse()
                    .ok()
                    .filter(|parsed: &u64| *parsed > 0 && parsed.to_string() == number);
                let parsed = parsed.ok_or_else(|| ReferenceError::BadNumber {
                    number: shown(number),
                    reference: reference(),
                })?;
                (name, Some(parsed))
            }
        };
        for (part, what) in [(parts[0], "owner"), (name, "environment name")] {
            if !is_valid_part(part) {
                let part = shown(part);
                return Err(ReferenceError::BadPart {
                    part,
                    what,
                    reference: reference(),
                });
            }
        }
        let environment = EnvironmentName {
            owner: parts[0].to_owned(),
            name: name.to_owned(),
        };
        Ok(Self {
            hub,
            environment,
            number,
            digest,
        })
    }
}

impl FromStr for EnvironmentName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        match text.parse()? {
            Reference {
                hub: None,
                environment,
                number: None,
                digest: None,
            } => Ok(environment),
            _ => Err(ReferenceError::Shape {
                reference: shown(text),
            }),
        }
    }
}

impl FromStr for Pin {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        match text.parse()? {
            Reference {
                hub,
                environment,
                number: Some(number),
                digest: Some(digest),
            } => Ok(Self {
                hub,
                environment,
                number,
                digest,
            }),
            _ => Err(ReferenceError::NotAPin {
                reference: shown(text),
            }),
        }
    }
}

impl From<EnvironmentName> for Reference {
    fn from(environment: EnvironmentName) -> Self {
        Self {
            hub: None,
            environment,
            number: None,
            digest: None,
        }
    }
}

impl From<Pin> for Reference {
    fn from(pin: Pin) -> Self {
        Self {
            hub: pin.hub,
            environment: pin.environment,
            number: Some(pin.number),
            digest: Some(pin.digest),
        }
    }
}

impl fmt::Display for EnvironmentName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.owner, self.name)
    }
}

impl fmt::Debug for EnvironmentName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hub) = &self.hub {
            write!(formatter, "{hub}/")?;
        }
        write!(formatter, "{}", self.environment)?;
        if let Some(number) = self.number {
            write!(formatter, ":{number}")?;
        }
        if let Some(digest) = self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Reference::from(self.clone()).fmt(formatter)
    }
}

macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(EnvironmentName, Reference, Pin);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_and_writes_back() {
        let digest = Digest::of(b"");
        for text in [
            "acme/api".to_owned(),
            "acme/api:12".to_owned(),
            format!("acme/api@{digest}"),
            format!("acme/api:12@{digest}"),
            format!("hub.example.com/acme/api:12@{digest}"),
            "localhost:7878/acme/api".to_owned(),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn hostile_references_are_refused() {
        let long = "a".repeat(600);
        for text in [
            "",
            "/",
            "a",
            "a/",
            "/b",
            "a//b",
            "../b",
            "a/..",
            "a/b:0",
            "a/b:01",
            "a/b:-1",
            "a/b:",
            "a/b@",
            "a/b@sha256:00",
            "A/b",
            "a/b\n",
            "a/b\0",
            "evil/acme/api",
            "a/b/c/d",
            "a /b",
            "a/b:99999999999999999999",
            &long,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_pin_needs_number_and_digest() {
        assert!("acme/api:12".parse::<Pin>().is_err());
        assert!(
            format!("acme/api:12@{}", Digest::of(b"x"))
                .parse::<Pin>()
                .is_ok()
        );
    }

    #[test]
    fn a_reference_means_what_it_leaves_open_and_nothing_else() {
        let digest = Digest::of(b"x");
        let pin: Pin = format!("acme/api:12@{digest}").parse().unwrap();
        let means = |text: &str| text.parse::<Reference>().unwrap().means(&pin);
        for text in [
            "acme/api".to_owned(),
            "acme/api:12".to_owned(),
            format!("acme/api@{digest}"),
            "hub.example.com/acme/api".to_owned(),
            pin.to_string(),
        ] {
            assert!(means(&text), "{text}");
        }
        let other = Digest::of(b"y");
        for text in [
            "acme/web".to_owned(),
            "acme/api:11".to_owned(),
            format!("acme/api@{other}"),
            format!("acme/web@{digest}"),
        ] {
            assert!(!means(&text), "{text}");
        }
    }

    #[test]
    fn errors_escape_control_characters() {
        let error = "acme/a\npi".parse::<Reference>().unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
    }
}
