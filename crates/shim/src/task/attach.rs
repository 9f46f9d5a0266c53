//! `ResizePty` and `CloseIO`: what happens to a process's streams while it runs.

use containerd_shim::api::{CloseIORequest, ResizePtyRequest};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::error::{Error, Result};
use crate::server::Shim;

/// Tells a terminal its size.
pub(crate) fn resize_pty(shim: &Shim, request: &ResizePtyRequest) -> Result<()> {
    let process = shim.container(&request.id)?.process(&request.exec_id)?;
    let Some(terminal) = process.terminal() else {
        // containerd also asks for processes that have no terminal, or none yet.
        return Ok(());
    };
    let cells = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
    let size = Winsize {
        ws_row: cells(request.height),
        ws_col: cells(request.width),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size).map_err(|source| Error::Streams {
        verb: "resize the terminal of",
        source: Box::new(source),
    })
}

/// Closes standard input, once what was written has been read.
pub(crate) fn close_io(shim: &Shim, request: &CloseIORequest) -> Result<()> {
    let process = shim.container(&request.id)?.process(&request.exec_id)?;
    if request.stdin {
        process.io().close_input();
    }
    Ok(())
}
