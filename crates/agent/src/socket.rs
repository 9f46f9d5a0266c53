//! The Unix socket: for root alone, and for one agent at a time.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use futures::Stream;
use tokio::net::{UnixListener, UnixStream};

/// Why the agent cannot listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error("another agent listens on {}", path.display())]
    Taken { path: PathBuf },
    #[error("cannot listen on {}", path.display())]
    Listen {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Listens on a path. A socket that an earlier process left is replaced.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = |source| SocketError::Listen {
        path: path.to_owned(),
        source,
    };
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(SocketError::Taken {
            path: path.to_owned(),
        });
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // It gets its name once only root can open it. The new name is no longer than the old one: those are bounded.
    let staged = path.with_extension("new");
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&staged).map_err(failed)?;
    fs::set_permissions(&staged, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(&staged, path).map_err(failed)?;
    Ok(listener)
}

/// Returns the connections of root, and of the agent's own user.
pub(crate) fn connections(
    listener: UnixListener,
) -> impl Stream<Item = io::Result<UnixStream>> + Send {
    futures::stream::unfold(listener, |listener| async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) if may_ask(&stream) => return Some((Ok(stream), listener)),
                Ok(_) => tracing::warn!("a user other than root was turned away"),
                Err(error) => {
                    // Most often: no file descriptors left. Waiting lets connections end.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    })
}

fn may_ask(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_left_over_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/agent.sock");
        drop(listen(&path).unwrap());
        let listener = listen(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(matches!(listen(&path), Err(SocketError::Taken { .. })));
        drop(listener);
    }
}
