//! Receives a process's terminal from the OCI runtime.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use containerd_shim::asynchronous::io::Pty;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

use crate::error::{Error, Result};

/// Short, since a socket's path may have 107 bytes at most and a bundle's is longer.
const FOLDER: &str = "/run";

/// A socket that the runtime sends the terminal to.
pub(crate) struct Console {
    listener: UnixListener,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Console {
    pub(crate) fn listen() -> Result<Self> {
        let failed = |source: std::io::Error| Error::Streams {
            verb: "make a terminal for",
            source: source.into(),
        };
        let folder = tempfile::Builder::new()
            .prefix("nival-console-")
            .tempdir_in(FOLDER)
            .or_else(|_readonly| tempfile::tempdir())
            .map_err(failed)?;
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).map_err(failed)?;
        Ok(Self {
            listener,
            path,
            _folder: folder,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the terminal, once the runtime has ended well and so has sent it.
    pub(crate) async fn receive(self) -> Result<Pty> {
        let failed = |source: std::io::Error| Error::Streams {
            verb: "receive the terminal for",
            source: source.into(),
        };
        let (stream, _) = self.listener.accept().await.map_err(failed)?;
        let master = receive_descriptor(&stream).await.map_err(failed)?;
        Pty::new(master.into()).map_err(|source| Error::Streams {
            verb: "use the terminal for",
            source: Box::new(source),
        })
    }
}

async fn receive_descriptor(stream: &UnixStream) -> std::io::Result<OwnedFd> {
    stream
        .async_io(Interest::READABLE, || {
            // The message is the terminal's name, which nobody needs.
            let mut name = [0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            recvmsg(
                stream,
                &mut [IoSliceMut::new(&mut name)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )?;
            control
                .drain()
                .find_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                    _ => None,
                })
                .ok_or_else(|| std::io::Error::other("the runtime sent no terminal"))
        })
        .await
}
