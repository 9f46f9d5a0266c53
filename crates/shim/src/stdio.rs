//! A process's streams: pipes or a terminal on the runtime's side, containerd's pipes on the other.

use std::sync::Arc;

use async_trait::async_trait;
use containerd_shim::asynchronous::io::{IoTasks, Pty, Stdio};
use runc::io::IoOption;
use runc::{Command, Io, PipedIo};

use crate::console::Console;
use crate::error::{Error, Result};
use crate::options::RuntimeOptions;

/// What the runtime is given for a process that it makes.
pub(crate) enum Wiring {
    Terminal(Console),
    Pipes(Arc<Pipes>),
}

impl Wiring {
    pub(crate) fn new(stdio: &Stdio, options: &RuntimeOptions) -> Result<Self> {
        for stream in [&stdio.stdin, &stdio.stdout, &stdio.stderr] {
            if stream.contains("://") {
                return Err(Error::Unsupported {
                    verb: "logging through a program or file",
                    reason: "the shim writes to containerd's pipes alone",
                });
            }
        }
        if stdio.terminal {
            return Ok(Self::Terminal(Console::listen()?));
        }
        let wanted = IoOption {
            open_stdin: !stdio.stdin.is_empty(),
            open_stdout: !stdio.stdout.is_empty(),
            open_stderr: !stdio.stderr.is_empty(),
        };
        let piped = PipedIo::new(options.io_uid, options.io_gid, &wanted);
        let piped = piped.map_err(|source| Error::Streams {
            verb: "make",
            source: source.into(),
        })?;
        Ok(Self::Pipes(Arc::new(Pipes(piped))))
    }

    /// The driver for the runtime's own streams.
    pub(crate) fn driver(&self) -> Arc<dyn Io> {
        match self {
            Self::Terminal(_) => Arc::new(Nothing),
            Self::Pipes(pipes) => pipes.clone(),
        }
    }

    pub(crate) fn console(&self) -> Option<&std::path::Path> {
        match self {
            Self::Terminal(console) => Some(console.path()),
            Self::Pipes(_) => None,
        }
    }

    /// Begins to copy, once the runtime has made the process. Returns its terminal, where it has one.
    pub(crate) async fn attach(self, stdio: &Stdio, tasks: &IoTasks) -> Result<Option<Pty>> {
        let failed = |source| Error::Streams {
            verb: "copy",
            source: Box::new(source),
        };
        match self {
            Self::Terminal(console) => {
                let terminal = console.receive().await?;
                if !stdio.stdin.is_empty() {
                    tasks
                        .copy_from_fifo(&stdio.stdin, terminal.clone())
                        .map_err(failed)?;
                }
                if !stdio.stdout.is_empty() {
                    tasks
                        .copy_to_fifo(terminal.clone(), &stdio.stdout)
                        .map_err(failed)?;
                }
                Ok(Some(terminal))
            }
            Self::Pipes(pipes) => {
                if let Some(stdin) = pipes.0.stdin() {
                    tasks.copy_from_fifo(&stdio.stdin, stdin).map_err(failed)?;
                }
                for (stream, path) in [
                    (pipes.0.stdout(), &stdio.stdout),
                    (pipes.0.stderr(), &stdio.stderr),
                ] {
                    if let Some(stream) = stream {
                        tasks.copy_to_fifo(stream, path).map_err(failed)?;
                    }
                }
                Ok(None)
            }
        }
    }
}

/// Pipes for the streams that containerd wants, nothing for the others.
#[derive(Debug)]
pub(crate) struct Pipes(PipedIo);

#[async_trait]
impl Io for Pipes {
    async fn set(&self, command: &mut Command) -> std::io::Result<()> {
        Nothing.set(command).await?;
        self.0.set(command).await
    }

    async fn close_after_start(&self) {
        self.0.close_after_start().await;
    }
}

/// What the runtime itself says, for a verb that makes no process.
#[derive(Debug)]
pub(crate) struct Captured;

#[async_trait]
impl Io for Captured {
    async fn set(&self, command: &mut Command) -> std::io::Result<()> {
        let piped = std::process::Stdio::piped;
        command.stdin(std::process::Stdio::null());
        command.stdout(piped()).stderr(piped());
        Ok(())
    }

    async fn close_after_start(&self) {}
}

/// No streams at all. The process would inherit the runtime's pipes, which end with the runtime.
#[derive(Debug)]
pub(crate) struct Nothing;

#[async_trait]
impl Io for Nothing {
    async fn set(&self, command: &mut Command) -> std::io::Result<()> {
        let null = std::process::Stdio::null;
        command.stdin(null()).stdout(null()).stderr(null());
        Ok(())
    }

    async fn close_after_start(&self) {}
}
