//! What can go wrong in the shim, and the one place where it becomes a ttrpc status.

use std::path::PathBuf;

use ttrpc::Code;

use crate::hook::HookError;
use crate::mount::MountError;
use crate::nival::AgentError;
use crate::options::OptionsError;
use crate::rootfs::SkeletonError;
use crate::spec::SpecError;
use workload::annotations::AnnotationError;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request of containerd cannot be met.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("container {id} does not exist in this shim")]
    NoContainer { id: String },
    #[error("container {container} has no process {exec}")]
    NoProcess { container: String, exec: String },
    #[error("container {id} exists already")]
    ContainerExists { id: String },
    #[error("container {container} has a process {exec} already")]
    ProcessExists { container: String, exec: String },
    #[error("cannot {verb} a {state} process")]
    WrongState {
        verb: &'static str,
        state: &'static str,
    },
    #[error("the first process of container {container} is not running")]
    NotRunning { container: String },
    #[error("process already finished")]
    Finished,
    #[error("the shim is shutting down")]
    ShuttingDown,
    #[error(
        "containerd stopped waiting for container {id} to be created, so it was not; it is tried again"
    )]
    Abandoned { id: String },
    #[error("{verb} came to no end, which is a bug in the shim; its log says where")]
    Bug { verb: &'static str },
    #[error("{verb} is not supported: {reason}")]
    Unsupported {
        verb: &'static str,
        reason: &'static str,
    },
    #[error("the request's {field} is not valid: {reason}")]
    Request { field: &'static str, reason: String },
    #[error("OCI runtime {verb} failed: {message}")]
    Runtime { verb: &'static str, message: String },
    #[error(
        "OCI runtime {name:?} is not on containerd's PATH; install it, or name another with BinaryName"
    )]
    RuntimeMissing { name: String },
    #[error("cannot {verb} {}", path.display())]
    Path {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "the container's specification has {length} bytes, and at most 16 MiB are read: shorten its annotations, variables or arguments"
    )]
    LargeSpec { length: u64 },
    #[error("{} is no OCI specification", path.display())]
    Json {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot mount the root filesystem of container {id}")]
    Mount {
        id: String,
        #[source]
        source: MountError,
    },
    #[error(
        "the container has no root filesystem at {}: containerd gave the shim no mounts for it; look at its snapshotter",
        path.display()
    )]
    NoRoot { path: PathBuf },
    #[error("cannot {verb} the streams of the process")]
    Streams {
        verb: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Skeleton(#[from] SkeletonError),
    #[error(transparent)]
    Hook(#[from] HookError),
}

impl Error {
    pub(crate) fn path(
        verb: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Path { verb, path, source }
    }

    fn code(&self) -> Code {
        match self {
            Self::NoContainer { .. } | Self::NoProcess { .. } | Self::Finished => Code::NOT_FOUND,
            Self::ContainerExists { .. } | Self::ProcessExists { .. } => Code::ALREADY_EXISTS,
            Self::WrongState { .. } | Self::NotRunning { .. } => Code::FAILED_PRECONDITION,
            Self::ShuttingDown => Code::UNAVAILABLE,
            Self::Abandoned { .. } => Code::DEADLINE_EXCEEDED,
            Self::Unsupported { .. } => Code::UNIMPLEMENTED,
            Self::Request { .. }
            | Self::LargeSpec { .. }
            | Self::Annotation(_)
            | Self::Options(_) => Code::INVALID_ARGUMENT,
            Self::Agent(error) => error.code(),
            Self::Bug { .. }
            | Self::Runtime { .. }
            | Self::RuntimeMissing { .. }
            | Self::Path { .. }
            | Self::Json { .. }
            | Self::Mount { .. }
            | Self::NoRoot { .. }
            | Self::Streams { .. }
            | Self::Spec(_)
            | Self::Skeleton(_)
            | Self::Hook(_) => Code::UNKNOWN,
        }
    }
}

impl From<Error> for ttrpc::Error {
    fn from(error: Error) -> Self {
        let mut text = one_line(&error);
        if is_full(&error) {
            text.push_str("; free space there, then it is tried again");
        }
        Self::RpcStatus(ttrpc::get_status(error.code(), text))
    }
}

/// Tells whether a full disk is the cause.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let cause = error.downcast_ref::<std::io::Error>();
        let number = error.downcast_ref::<rustix::io::Errno>();
        if cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::StorageFull)
            || number == Some(&rustix::io::Errno::NOSPC)
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// Returns an error and its causes as one line: the kubelet shows it in an event, where a line break ends the story.
pub(crate) fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    flatten(&text)
}

/// Joins lines and drops what could draw on a terminal.
pub(crate) fn flatten(text: &str) -> String {
    let mut flat = String::with_capacity(text.len());
    for word in text.split(|character: char| character.is_control() || character == ' ') {
        if !word.is_empty() {
            if !flat.is_empty() {
                flat.push(' ');
            }
            flat.push_str(word);
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_and_its_causes_become_one_line() {
        let error = Error::Path {
            verb: "read",
            path: "/bundle/config.json".into(),
            source: std::io::Error::other("line one\nline\ttwo\u{1b}[31m"),
        };
        assert_eq!(
            one_line(&error),
            "cannot read /bundle/config.json: line one line two [31m"
        );
    }

    #[test]
    fn containerd_can_tell_a_missing_container_from_a_failure() {
        let missing = ttrpc::Error::from(Error::NoContainer { id: "a".into() });
        let ttrpc::Error::RpcStatus(status) = missing else {
            panic!("a status was expected");
        };
        assert_eq!(status.code(), Code::NOT_FOUND);
        assert_eq!(status.message(), "container a does not exist in this shim");
    }
}
