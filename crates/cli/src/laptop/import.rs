//! Puts a composed environment into the machine's Nix store, through a binary cache of one path in a temporary folder.

use std::io;

use host::nix::Nix;
use host::process::ProcessError;
use nix_data::{Compression, ContentAddress, ContentAddressMethod, NarInfo};

use env_spec::generation::ClosurePath;

/// Why the environment is not in the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// The temporary cache could not be written.
    #[error("cannot write a temporary binary cache")]
    Write(#[source] io::Error),
    /// Nix did not take it.
    #[error("nix does not take the environment {environment}")]
    Copy {
        /// The environment.
        environment: String,
        /// What Nix said.
        #[source]
        source: ProcessError,
    },
}

/// Puts a content-addressed path with these bytes into the store. Its references must be there already.
///
/// It needs no signature and no trust: its name follows from its content, which Nix checks.
///
/// # Errors
/// Fails when the disk is full or Nix refuses.
pub(crate) fn import(nix: &Nix, path: &ClosurePath, nar: &[u8]) -> Result<(), ImportError> {
    let folder = tempfile::Builder::new()
        .prefix("nival-import-")
        .tempdir()
        .map_err(ImportError::Write)?;
    let write = |name: &str, bytes: &[u8]| {
        fs_err::write(folder.path().join(name), bytes).map_err(ImportError::Write)
    };
    fs_err::create_dir(folder.path().join("nar")).map_err(ImportError::Write)?;
    write("nix-cache-info", b"StoreDir: /nix/store\n")?;
    write("nar/environment.nar", nar)?;
    let info = NarInfo {
        store_path: path.path.clone(),
        url: "nar/environment.nar".to_owned(),
        compression: Compression::None,
        file_hash: Some(path.nar_hash.clone()),
        file_size: Some(path.nar_size),
        nar_hash: path.nar_hash.clone(),
        nar_size: path.nar_size,
        references: path.references.clone(),
        deriver: None,
        system: None,
        signatures: Vec::new(),
        ca: Some(content_address(path)),
    };
    write(
        &format!("{}.narinfo", path.path.hash_part()),
        info.to_string().as_bytes(),
    )?;

    let from = format!("file://{}", folder.path().display());
    let mut command = nix.command(&["copy", "--no-recursive", "--from", &from]);
    nix.run(command.arg(path.path.to_string()))
        .map(drop)
        .map_err(|source| ImportError::Copy {
            environment: path.path.to_string(),
            source,
        })
}

/// Returns the claim that an environment's path follows from its content.
#[must_use]
pub(crate) fn content_address(path: &ClosurePath) -> ContentAddress {
    ContentAddress {
        method: ContentAddressMethod::Recursive,
        hash: path.nar_hash.clone(),
    }
}
