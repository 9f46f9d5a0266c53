//! SHA-256 of what streams by, with its length.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use crate::Hash;

/// Hashes and counts what is written, and passes it on.
#[derive(Debug, Clone)]
pub struct HashingWriter<W> {
    destination: W,
    state: State,
}

/// Hashes and counts what is read.
#[derive(Debug, Clone)]
pub struct HashingReader<R> {
    source: R,
    state: State,
}

#[derive(Debug, Clone, Default)]
struct State {
    sha256: Sha256,
    count: u64,
}

impl State {
    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.count += bytes.len() as u64;
    }

    fn finish(self) -> (Hash, u64) {
        (Hash::from_sha256(self.sha256.finalize().into()), self.count)
    }
}

impl<W> HashingWriter<W> {
    /// Starts with nothing hashed. With [`io::sink`] as the destination it hashes only.
    pub fn new(destination: W) -> Self {
        Self {
            destination,
            state: State::default(),
        }
    }

    /// Returns how many bytes were written.
    pub fn count(&self) -> u64 {
        self.state.count
    }

    /// Returns the hash and the number of the bytes written, and the destination.
    pub fn finish(self) -> (Hash, u64, W) {
        let (hash, count) = self.state.finish();
        (hash, count, self.destination)
    }
}

impl<R> HashingReader<R> {
    /// Starts with nothing hashed.
    pub fn new(source: R) -> Self {
        Self {
            source,
            state: State::default(),
        }
    }

    /// Returns how many bytes were read.
    pub fn count(&self) -> u64 {
        self.state.count
    }

    /// Returns the hash and the number of the bytes read, and the source.
    pub fn finish(self) -> (Hash, u64, R) {
        let (hash, count) = self.state.finish();
        (hash, count, self.source)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.destination.write(bytes)?;
        self.state.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.destination.flush()
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.state.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_hash_and_count_what_passed() {
        let text = b"some bytes that pass in pieces";
        let mut writer = HashingWriter::new(Vec::new());
        text.chunks(7)
            .for_each(|chunk| writer.write_all(chunk).unwrap());
        assert_eq!(writer.count(), text.len() as u64);
        assert_eq!(
            writer.finish(),
            (Hash::sha256(text), text.len() as u64, text.to_vec())
        );

        let mut reader = HashingReader::new(&text[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(
            reader.finish(),
            (Hash::sha256(text), text.len() as u64, &b""[..])
        );
    }
}
