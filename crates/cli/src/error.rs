//! What a failed command tells its user: what went wrong, why, and what to do next.

use std::error::Error;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use api::hub::ClientError;
use api::hub::error::ErrorCode;
use env_spec::SignedError;
use host::process::ProcessError;

use crate::k8s::ClusterError;

/// Whose matter a failure is. It decides the exit code; a bug is a panic, which ends with 101.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The user's input or surroundings.
    User,
    /// The command line.
    Usage,
    /// A check found something that is not up to date.
    NotUpToDate,
}

impl ErrorKind {
    /// Returns the exit code, which is part of the contract with scripts.
    #[must_use]
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Usage => 2,
            Self::NotUpToDate => 3,
        }
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct CommandError {
    kind: ErrorKind,
    source: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
}

/// What every command returns.
pub(crate) type Outcome<T = ()> = Result<T, CommandError>;

/// A failure that has no cause below it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Message(String);

/// A failure with what was being done when it came.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
struct While {
    doing: String,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl CommandError {
    /// Returns a failure of the user's making.
    pub(crate) fn user(message: impl Into<String>) -> Self {
        Self::with_kind(ErrorKind::User, message)
    }

    /// Returns a failure of this kind.
    pub(crate) fn with_kind(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            source: Box::new(Message(message.into())),
            hints: Vec::new(),
        }
    }

    /// Adds advice.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says what was being done.
    #[must_use]
    pub(crate) fn doing(self, doing: impl Into<String>) -> Self {
        let source = Box::new(While {
            doing: doing.into(),
            source: self.source,
        });
        Self { source, ..self }
    }

    /// Returns the hub's answer, where that is at fault.
    #[must_use]
    pub(crate) fn hub_error(&self) -> Option<&ClientError> {
        chain(self.source.as_ref()).find_map(|one| one.downcast_ref::<ClientError>())
    }

    /// Returns the hub's code, where the hub refused.
    #[must_use]
    pub(crate) fn hub_code(&self) -> Option<ErrorCode> {
        self.hub_error().and_then(ClientError::code)
    }

    /// Returns the exit code.
    #[must_use]
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.exit_code())
    }

    /// Tells whether the reader of the output went away, which is no failure (`nival list | head -1`).
    #[must_use]
    pub(crate) fn is_broken_pipe(&self) -> bool {
        chain(self.source.as_ref()).any(|one| {
            one.downcast_ref::<crate::output::OutputError>()
                .is_some_and(crate::output::OutputError::is_broken_pipe)
        })
    }

    /// Returns the message and its causes, one line each.
    #[must_use]
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for cause in chain(self.source.as_ref()) {
            let text = cause.to_string();
            // Some libraries repeat their cause in their own text.
            if lines.last().is_none_or(|above| !above.contains(&text)) {
                lines.push(text);
            }
        }
        lines
    }

    /// Returns the advice.
    #[must_use]
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

impl<E: Error + Send + Sync + 'static> From<E> for CommandError {
    fn from(error: E) -> Self {
        let hints = advice(&error).into_iter().collect();
        Self {
            kind: ErrorKind::User,
            source: Box::new(error),
            hints,
        }
    }
}

/// What to do about errors that many commands meet.
fn advice(error: &(dyn Error + 'static)) -> Option<String> {
    let unsigned = chain(error).find_map(|one| one.downcast_ref::<SignedError>());
    if let Some(SignedError::Untrusted { owner, .. }) = unsigned {
        return Some(format!(
            "ask {owner} for the public key by a way you trust, then: nival key trust {owner} NAME:BASE64"
        ));
    }
    fixed_advice(error).map(str::to_owned)
}

fn fixed_advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let nix = chain(error).find_map(|one| {
        // A boxed source shows as the box.
        let boxed = one.downcast_ref::<Box<ProcessError>>().map(AsRef::as_ref);
        boxed.or_else(|| one.downcast_ref::<ProcessError>())
    });
    if matches!(nix, Some(ProcessError::Start { program, .. }) if is_nix(program)) {
        return Some(
            "resolving packages needs Nix: install it, or name the program with --nix, NIVAL_NIX or `nix` in config.toml",
        );
    }
    if let Some(error) = chain(error).find_map(|one| one.downcast_ref::<ClusterError>()) {
        return error.advice();
    }
    let error = chain(error).find_map(|one| one.downcast_ref::<ClientError>())?;
    match error {
        ClientError::Unreachable { .. } | ClientError::NotAHub { .. } => Some(
            "the address comes from --hub, NIVAL_HUB or `hub` in config.toml; `nival config show` tells which; `nival-hub serve` runs a hub here",
        ),
        ClientError::BadAddress { .. } => Some("write it as http://host:port or https://host"),
        ClientError::Refused { code, .. } => match code {
            ErrorCode::Unauthenticated => Some(
                "set NIVAL_TOKEN, or `token` in config.toml, to a token of the owner's (`nival-hub token create --owner OWNER`)",
            ),
            ErrorCode::TokenExpired => Some(
                "ask for a new token (`nival-hub token create --owner OWNER`) and set NIVAL_TOKEN or `token` to it",
            ),
            ErrorCode::Forbidden => Some("the token must be one of the environment's owner"),
            _ => None,
        },
    }
}

fn is_nix(program: &OsStr) -> bool {
    Path::new(program)
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("nix"))
}

/// Says what was being done when a result fails.
pub(crate) trait Doing<T> {
    /// Adds a line above the cause.
    ///
    /// # Errors
    /// Fails when the result did.
    fn doing(self, doing: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T, E: Into<CommandError>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|error| error.into().doing(doing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_exit_code() {
        let codes =
            [ErrorKind::User, ErrorKind::Usage, ErrorKind::NotUpToDate].map(ErrorKind::exit_code);
        assert_eq!(codes, [1, 2, 3]);
    }

    #[test]
    fn causes_are_told_below_what_was_done_and_never_twice() {
        let cause = std::io::Error::other("the disk is full");
        let error = CommandError::from(cause)
            .doing("cannot write the lock")
            .hint("free some space");
        assert_eq!(error.lines(), ["cannot write the lock", "the disk is full"]);
        assert_eq!(error.hints(), ["free some space"]);
    }

    #[test]
    fn an_expired_token_comes_with_advice() {
        let error = ClientError::Refused {
            base: "http://127.0.0.1:1".parse().unwrap(),
            status: 401,
            code: ErrorCode::TokenExpired,
            message: "the token expired yesterday".into(),
        };
        let error = CommandError::from(error).doing("cannot push");
        assert_eq!(error.hub_code(), Some(ErrorCode::TokenExpired));
        assert!(
            error.hints()[0].contains("NIVAL_TOKEN"),
            "{:?}",
            error.hints()
        );
    }
}
