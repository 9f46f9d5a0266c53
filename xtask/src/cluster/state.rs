//! What is known of the running cluster, between one command and the next.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fs_err as fs;
use serde::{Deserialize, Serialize};

/// The place in the cluster's network that is no machine of its own: files and programs are the host's.
pub(super) const OUTSIDE: &str = "";

const FILE: &str = "state.json";

/// A running cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) nodes: u8,
    /// The socket on which its keeper waits for the wish to end.
    pub(super) control: PathBuf,
    /// How a command is started in each place.
    pub(super) places: BTreeMap<String, Vec<String>>,
}

impl State {
    /// Returns the cluster of a folder, if it runs.
    pub(super) fn of_running(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let state: Self =
            serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
        Ok(state.connect().is_ok().then_some(state))
    }

    /// Connects to the keeper. It answers as long as it lives, and goes on when the connection is closed unused.
    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.control)
    }

    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let text = serde_json::to_vec_pretty(self).context("writing the cluster's state")?;
        Ok(host::fs::write_atomic(&folder.join(FILE), &text)?)
    }

    /// Removes what is known.
    pub(super) fn forget(folder: &Path) -> Result<()> {
        match fs::remove_file(folder.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Returns the names of the machines.
    pub(super) fn machines(&self) -> impl Iterator<Item = &str> {
        self.places
            .keys()
            .map(String::as_str)
            .filter(|name| *name != OUTSIDE)
    }
}
