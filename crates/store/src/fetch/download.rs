//! One path from one source: downloaded, decompressed, hashed and unpacked in one stream of constant memory.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use env_spec::generation::ClosurePath;
use fs_err as fs;
use nix_data::{HashingReader, NarInfo};
use tokio::sync::mpsc;

use super::FetchError;
use super::decompress::Decompressor;
use super::pace::{self, Stopped};
use super::progress::Progress;
use crate::layout::Store;
use crate::source::{NarBody, Source, SourceError};
use crate::temporary::Temporary;
use crate::unpack::{UnpackError, unpack_unsealed};

/// How many pieces of a download wait for the unpacker: some hundred kilobytes.
const QUEUE: usize = 16;

/// A path that is whole and checked, under a temporary name.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) path: ClosurePath,
    pub(super) source: String,
    pub(super) place: Temporary,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// By the source's fault: another one may do better.
    Source(SourceError),
    /// By the machine's: no source helps.
    Local(FetchError),
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// Fetches one path from one source.
pub(super) async fn download(
    store: &Store,
    path: &ClosurePath,
    source: &Source,
    progress: &Arc<Progress>,
) -> Result<Unpacked, Failure> {
    let info = {
        let _slot = store.limits().narinfos.acquire().await;
        source.narinfo(&path.path).await?
    };
    if info.nar_hash != path.nar_hash {
        return Err(Failure::Source(SourceError::OtherBytes {
            path: path.path.clone(),
            from: source.name().to_owned(),
            wanted: Box::new(path.nar_hash.clone()),
            found: Box::new(info.nar_hash),
        }));
    }
    let _slot = store.limits().downloads.acquire().await;
    let body = source.nar(&info).await?;
    let place = Temporary::new(store);
    let job = Job {
        path: path.clone(),
        info,
        source: source.name().to_owned(),
        place,
        progress: Arc::clone(progress),
    };
    match body {
        NarBody::File(file) => {
            let open =
                fs::File::open(&file).map_err(|source| SourceError::Read { path: file, source })?;
            // The standard's file, so that its reads name no path twice.
            let reader = Counted {
                source: open,
                progress: Arc::clone(progress),
            };
            joined(tokio::task::spawn_blocking(move || job.run(reader)).await)
        }
        NarBody::Response(response) => stream(job, response, path, source, progress).await,
    }
}

/// Feeds the unpacker's thread from the network.
async fn stream(
    job: Job,
    mut response: reqwest::Response,
    path: &ClosurePath,
    source: &Source,
    progress: &Arc<Progress>,
) -> Result<Unpacked, Failure> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let reader = ChannelReader {
        receiver,
        current: Bytes::new(),
    };
    let unpacking = tokio::task::spawn_blocking(move || job.run(reader));
    let pumped = pace::LEAST.pump(&mut response, progress, sender).await;
    let unpacked = joined(unpacking.await);
    match (pumped, unpacked) {
        (_, Ok(unpacked)) => Ok(unpacked),
        // What the unpacker says of a stream that broke is not the cause.
        (Err(stopped), Err(Failure::Source(_))) => {
            let from = source.name().to_owned();
            Err(Failure::Source(match stopped {
                Stopped::Network(error) => SourceError::Network {
                    from,
                    what: format!("the NAR of {}", path.path),
                    source: error.without_url(),
                },
                Stopped::Slow { got, seconds } => SourceError::Slow {
                    path: path.path.clone(),
                    from,
                    got,
                    seconds,
                },
            }))
        }
        (_, Err(failure)) => Err(failure),
    }
}

fn joined(
    result: Result<Result<Unpacked, Failure>, tokio::task::JoinError>,
) -> Result<Unpacked, Failure> {
    result.unwrap_or(Err(Failure::Local(FetchError::Interrupted)))
}

/// What the unpacker's thread does.
struct Job {
    path: ClosurePath,
    info: NarInfo,
    source: String,
    place: Temporary,
    progress: Arc<Progress>,
}

impl Job {
    fn run<R: Read>(self, body: R) -> Result<Unpacked, Failure> {
        let mut unpacked_bytes = 0;
        let result = self.unpack(body, &mut unpacked_bytes);
        match result {
            Ok(()) => Ok(Unpacked {
                path: self.path,
                source: self.source,
                place: self.place,
            }),
            Err(failure) => {
                self.progress.take_back(unpacked_bytes);
                Err(failure)
            }
        }
    }

    fn unpack<R: Read>(&self, body: R, unpacked_bytes: &mut u64) -> Result<(), Failure> {
        // Honest compression adds little. Frames that hold nothing, and padding, could go on for ever.
        let most = self
            .path
            .nar_size
            .saturating_add(self.path.nar_size / 8 + (1 << 20));
        let file = HashingReader::new(body.take(most));
        let ended = std::cell::Cell::new(0);
        let file = Watched {
            source: file,
            ended: &ended,
        };
        let unreadable = |source: UnpackError| self.unreadable(source, ended.get());
        let read = |source| UnpackError::Nar(nix_data::nar::NarError::Read { offset: 0, source });
        let decompressor = Decompressor::new(self.info.compression, file)
            .map_err(|error| unreadable(read(error)))?;
        let Some(decompressor) = decompressor else {
            return Err(Failure::Source(SourceError::Compression {
                path: self.path.path.clone(),
                from: self.source.clone(),
                method: self.info.compression.name(),
            }));
        };
        let nar = Limited {
            source: HashingReader::new(decompressor),
            // One byte more shows that it is too long.
            left: self.path.nar_size.saturating_add(1),
            progress: &self.progress,
            count: unpacked_bytes,
        };
        let nar =
            unpack_unsealed(nar, self.place.path(), self.path.nar_size).map_err(unreadable)?;
        let (hash, size, decompressor) = nar.source.finish();
        if hash != self.path.nar_hash || size != self.path.nar_size {
            return Err(Failure::Source(SourceError::Corrupt {
                path: self.path.path.clone(),
                from: self.source.clone(),
                wanted: Box::new(self.path.nar_hash.clone()),
                wanted_size: self.path.nar_size,
                found: Box::new(hash),
                found_size: size,
            }));
        }
        let file = decompressor
            .finish()
            .map_err(|error| unreadable(read(error)))?;
        self.check_file(file.source)
    }

    fn check_file<R>(&self, file: HashingReader<R>) -> Result<(), Failure> {
        let (hash, size, _) = file.finish();
        let differs = |detail| SourceError::OtherFile {
            path: self.path.path.clone(),
            from: self.source.clone(),
            detail,
        };
        if let Some(wanted) = self.info.file_size.filter(|wanted| *wanted != size) {
            return Err(differs(format!("{size} bytes instead of {wanted}")).into());
        }
        if let Some(wanted) = self
            .info
            .file_hash
            .as_ref()
            .filter(|wanted| **wanted != hash)
        {
            return Err(differs(format!("hash {hash} instead of {wanted}")).into());
        }
        Ok(())
    }

    /// Tells apart what the source did, what the network did and what the disk did. `got` is how many bytes came before
    /// the end, or 0 where there was none.
    fn unreadable(&self, source: UnpackError, got: u64) -> Failure {
        let (path, from) = (self.path.path.clone(), self.source.clone());
        if source.is_full() {
            return Failure::Local(super::space::full(self.place.path(), &self.path));
        }
        if matches!(source, UnpackError::Write { .. }) {
            return Failure::Local(FetchError::Place {
                path,
                source: Box::new(source),
            });
        }
        let whole = self.info.file_size.is_some_and(|size| got >= size);
        Failure::Source(if got > 0 && !whole {
            SourceError::Truncated { path, from, got }
        } else {
            SourceError::Unreadable {
                path,
                from,
                wanted: Box::new(self.path.nar_hash.clone()),
                wanted_size: self.path.nar_size,
                source: Box::new(source),
            }
        })
    }
}

/// Reads what a channel brings.
struct ChannelReader {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

/// Counts what a file gives as downloaded.
struct Counted {
    source: fs::File,
    progress: Arc<Progress>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.progress.add_downloaded(read as u64);
        Ok(read)
    }
}

/// Notes where the file ended, if it was read so far.
struct Watched<'a, R> {
    source: HashingReader<R>,
    ended: &'a std::cell::Cell<u64>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            self.ended.set(self.source.count().max(1));
        }
        Ok(read)
    }
}

/// Ends a NAR that is longer than the record says, so that a bomb fills no disk, and counts what passes.
struct Limited<'a, R> {
    source: R,
    left: u64,
    progress: &'a Progress,
    count: &'a mut u64,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buffer[..most])?;
        self.left -= read as u64;
        *self.count += read as u64;
        self.progress.add_unpacked(read as u64);
        Ok(read)
    }
}
