//! Small JSON files that the agent keeps for itself, one per thing, so that a kill harms at most one.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::AgentError;
use crate::replace::{open_folder, replace};

/// Notes are small; what is larger is damaged.
const LARGEST: u64 = 4 << 20;

/// How long a note must last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// Through a power cut.
    Always,
    /// Through a kill of the agent. What a power cut takes of it is of no use after one, or found out again.
    WhileUp,
}

/// A folder of notes.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    folder: PathBuf,
    lasting: Lasting,
}

impl Notes {
    pub(crate) fn open(folder: PathBuf, lasting: Lasting) -> Result<Self, AgentError> {
        open_folder(&folder).map_err(|source| failed("make its folder", source))?;
        Ok(Self { folder, lasting })
    }

    /// Returns a note, or nothing where there is none or only a damaged one.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        read(&self.file(name))
    }

    /// Returns a note, or nothing where there never was one: for what must not be forgotten by an error.
    pub(crate) fn read_or_refuse<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, AgentError> {
        let read = || match host::fs::read_bounded(&self.file(name), LARGEST) {
            Ok(bytes) => Ok(Some(
                serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        read().map_err(|source| failed("read a note", source))
    }

    /// Writes a note in one step.
    pub(crate) fn write<T: Serialize>(&self, name: &str, note: &T) -> Result<(), AgentError> {
        let path = self.file(name);
        let write = || {
            let bytes = serde_json::to_vec(note).map_err(io::Error::other)?;
            match self.lasting {
                Lasting::Always => host::fs::write_atomic(&path, &bytes),
                Lasting::WhileUp => replace(&path, &bytes),
            }
        };
        write().map_err(|source| failed("write a note", source))
    }

    /// Removes a note; one that is not there is no error.
    pub(crate) fn remove(&self, name: &str) -> Result<(), AgentError> {
        match fs::remove_file(self.file(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove a note", error))
            }
            _ => Ok(()),
        }
    }

    /// Returns all notes with their names, without damaged ones.
    pub(crate) fn all<T: DeserializeOwned>(&self) -> Result<Vec<(String, T)>, AgentError> {
        let mut found = Vec::new();
        for entry in
            fs::read_dir(&self.folder).map_err(|source| failed("read its notes", source))?
        {
            let path = entry
                .map_err(|source| failed("read its notes", source))?
                .path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.strip_suffix(".json"));
            if let (Some(name), Some(note)) = (name, read(&path)) {
                found.push((name.to_owned(), note));
            }
        }
        Ok(found)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = host::fs::read_bounded(path, LARGEST).ok()?;
    serde_json::from_slice(&bytes)
        .inspect_err(
            |error| tracing::warn!(path = %path.display(), %error, "a damaged note is ignored"),
        )
        .ok()
}

fn failed(what: &str, source: io::Error) -> AgentError {
    AgentError::State {
        what: what.to_owned(),
        source,
    }
}
