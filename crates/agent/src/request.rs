//! What a caller asks, checked: all of it may come from a tenant's annotations.

use std::path::PathBuf;

use env_spec::{Pin, Reference, System};

use crate::error::AgentError;

/// Kubernetes' names are shorter; this only bounds what is written to disk.
const LONGEST_NAME: usize = 512;

/// Which generation is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What the pod names.
    pub(crate) reference: Reference,
    /// The generation that this was pinned to.
    pub(crate) pin: Option<Pin>,
}

/// In which way the environment is activated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Run,
    Development,
}

impl Wanted {
    /// Reads reference and pin, and checks that they belong together.
    pub(crate) fn new(reference: &str, pin: &str, pinned_from: &str) -> Result<Self, AgentError> {
        let pin: Option<Pin> = if pin.is_empty() {
            None
        } else {
            Some(pin.parse()?)
        };
        let reference: Reference = match (&pin, reference) {
            (Some(pin), "") => pin.clone().into(),
            (_, text) => text.parse()?,
        };
        if let Some(pin) = &pin {
            let stale = |made_from: &str| AgentError::StalePin {
                pin: pin.to_string(),
                made_from: made_from.chars().take(200).collect(),
                reference: reference.to_string(),
            };
            // "acme/api 2026-11-23T22:00:00Z": the reference, then the restart that was seen.
            if let Some(made_from) = pinned_from.split_whitespace().next()
                && made_from != reference.to_string()
            {
                return Err(stale(made_from));
            }
            if !reference.means(pin) {
                return Err(stale("another reference"));
            }
        }
        Ok(Self { reference, pin })
    }
}

impl Mode {
    pub(crate) fn parse(text: &str) -> Result<Self, AgentError> {
        match text {
            "" | "run" => Ok(Self::Run),
            "dev" => Ok(Self::Development),
            other => {
                let other: String = other.chars().take(100).collect();
                Err(AgentError::Request(format!(
                    "{other:?} is not an activate mode: expected run or dev"
                )))
            }
        }
    }
}

/// Reads a system; empty means the machine's own.
pub(crate) fn system(text: &str) -> Result<System, AgentError> {
    let system = match text {
        "" => System::of(std::env::consts::ARCH, std::env::consts::OS),
        text => text.parse(),
    };
    system.map_err(|error| AgentError::Request(error.to_string()))
}

/// Checks the bundle folder that a lease is to live as long as.
pub(crate) fn bundle(text: &str) -> Result<PathBuf, AgentError> {
    let bundle = PathBuf::from(text);
    if !bundle.is_absolute() {
        return Err(AgentError::Request(format!(
            "the bundle {text:?} is not an absolute path"
        )));
    }
    if !bundle.is_dir() {
        let text = format!(
            "there is no bundle {text:?}: the agent must see the folders that containerd makes"
        );
        return Err(AgentError::Request(text));
    }
    Ok(bundle)
}

/// Bounds names that are kept.
pub(crate) fn name(text: &str, what: &str) -> Result<String, AgentError> {
    if text.len() > LONGEST_NAME || text.chars().any(char::is_control) {
        return Err(AgentError::Request(format!(
            "the {what} is not a valid name"
        )));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use env_spec::Digest;

    use super::*;

    #[test]
    fn a_pin_that_was_made_from_something_else_is_stale() {
        let pin = |number: u64| format!("acme/api:{number}@{}", Digest::of(b""));
        assert!(Wanted::new("acme/api", &pin(12), "acme/api 2026-11-23T22:00:00Z").is_ok());
        assert!(Wanted::new("acme/api", &pin(12), "").is_ok());
        assert!(Wanted::new("", &pin(12), "").is_ok());
        // Pins do not name the hub that they were made at.
        let own = "hub.example.com/acme/api";
        assert!(Wanted::new(own, &pin(12), own).is_ok());
        for (reference, pinned_from) in [
            ("acme/api", "acme/web"),
            ("acme/web", ""),
            ("acme/api:11", ""),
            ("acme/api:11", "acme/api:12 2026"),
        ] {
            let error = Wanted::new(reference, &pin(12), pinned_from).unwrap_err();
            assert!(
                matches!(error, AgentError::StalePin { .. }),
                "{reference} {pinned_from}: {error}"
            );
        }
    }

    #[test]
    fn hostile_text_is_refused() {
        for (reference, pin) in [
            ("../x", ""),
            ("", ""),
            ("acme/api", "acme/api:12"),
            ("acme/api\n", ""),
        ] {
            assert!(
                Wanted::new(reference, pin, "").is_err(),
                "{reference:?} {pin:?}"
            );
        }
        assert!(Mode::parse("evil").is_err());
        assert!(bundle("relative").is_err() && bundle("/nonexistent").is_err());
        assert!(name("a\nb", "pod").is_err());
    }
}
