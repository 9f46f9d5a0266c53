//! Processes that keep namespaces alive, and die with whoever started them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::Failure;
use crate::process::children_of;

/// A process that keeps namespaces alive.
#[derive(Debug)]
pub(crate) struct Holder(Child);

impl Holder {
    /// Returns the process inside the namespaces that `unshare --fork` made.
    pub(crate) fn inside(&self) -> Result<u32, Failure> {
        let process = self.0.id();
        let first = children_of(process).first().copied();
        first.ok_or_else(|| {
            Failure::Text(format!(
                "process {process} has no child: the machine is gone"
            ))
        })
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may be dead already; then there is nothing to end.
        self.0.kill().and_then(|()| self.0.wait()).ok();
    }
}

/// Starts a holder and waits until it says that it is ready. It dies with whoever started it, however that ends.
pub(crate) fn hold(command: &Command) -> Result<Holder, Failure> {
    let mut bound = Command::new("setpriv");
    bound
        .args(["--pdeathsig", "KILL"])
        .arg(command.get_program())
        .args(command.get_args());
    let mut child = bound
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| Failure::Text("no pipe".to_owned()))?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim() == "ready" {
        return Ok(Holder(child));
    }
    let output = child.wait_with_output()?;
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::Text(format!(
        "a machine did not start: {line}{talk}"
    )))
}
