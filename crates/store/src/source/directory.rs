//! A binary cache in a folder.

use std::io;
use std::path::{Path, PathBuf};

use nix_data::{NarInfo, StorePath};

use super::{LARGEST_NARINFO, SourceError};

/// A folder with narinfos and NARs.
#[derive(Debug, Clone)]
pub struct Directory {
    folder: PathBuf,
    name: String,
}

impl Directory {
    pub(super) fn new(folder: PathBuf) -> Self {
        let name = format!("file://{}", folder.display());
        Self { folder, name }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn narinfo(&self, path: &StorePath) -> Result<String, SourceError> {
        let file = self.folder.join(format!("{}.narinfo", path.hash_part()));
        let bytes =
            host::fs::read_bounded(&file, LARGEST_NARINFO).map_err(|error| match error.kind() {
                io::ErrorKind::FileTooLarge => SourceError::NarInfoSize {
                    path: path.clone(),
                    from: self.name.clone(),
                    most: LARGEST_NARINFO,
                },
                _ => self.missing(path.to_string(), &file, error),
            })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(super) fn nar(&self, info: &NarInfo) -> Result<PathBuf, SourceError> {
        // The narinfo's parser lets only paths below the cache through.
        let file = self.folder.join(
            info.url
                .split_once('?')
                .map_or(info.url.as_str(), |(file, _)| file),
        );
        match fs_err::metadata(&file) {
            Ok(metadata) if metadata.is_file() => Ok(file),
            Ok(_) => Err(SourceError::NotThere {
                from: self.name.clone(),
                what: info.url.clone(),
            }),
            Err(error) => {
                Err(self.missing(format!("the NAR of {}", info.store_path), &file, error))
            }
        }
    }

    fn missing(&self, what: String, file: &Path, error: io::Error) -> SourceError {
        match error.kind() {
            io::ErrorKind::NotFound => SourceError::NotThere {
                from: self.name.clone(),
                what,
            },
            _ => SourceError::Read {
                path: file.to_owned(),
                source: error,
            },
        }
    }
}
