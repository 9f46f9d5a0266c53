//! Finding which store paths a stream of bytes refers to, and hashing past those to itself.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use crate::{Hash, StorePath, base32};

/// The length of the hash part of a store path.
const LENGTH: usize = 32;

/// Looks for the hash parts of candidate store paths in bytes that come in chunks.
///
/// It is a [`Write`], so that a NAR can be written into it.
#[derive(Debug, Clone)]
pub struct ReferenceScanner {
    /// What was not found yet.
    candidates: HashMap<[u8; LENGTH], StorePath>,
    /// Which first three digits any candidate has: it spares most look-ups in long texts of
    /// digits, such as hex dumps.
    beginnings: Box<[bool; 1 << 15]>,
    found: BTreeSet<StorePath>,
    /// The end of the last chunks: where a hash part may have begun.
    tail: Vec<u8>,
}

impl ReferenceScanner {
    /// Starts to look for these paths.
    pub fn new(candidates: impl IntoIterator<Item = StorePath>) -> Self {
        let candidates: HashMap<_, _> = candidates
            .into_iter()
            .map(|path| (hash_part(&path), path))
            .collect();
        let mut beginnings = Box::new([false; 1 << 15]);
        for hash_part in candidates.keys() {
            beginnings[beginning(hash_part)] = true;
        }
        Self {
            candidates,
            beginnings,
            found: BTreeSet::new(),
            tail: Vec::with_capacity(2 * LENGTH),
        }
    }

    /// Looks through the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        // Hash parts that began in earlier chunks end within the first 31 bytes of this one.
        let start = &bytes[..bytes.len().min(LENGTH - 1)];
        let mut seam = std::mem::take(&mut self.tail);
        seam.extend_from_slice(start);
        self.search(&seam);
        if bytes.len() >= LENGTH {
            self.search(bytes);
            seam.clear();
            seam.extend_from_slice(&bytes[bytes.len() - (LENGTH - 1)..]);
        } else {
            seam.drain(..seam.len().saturating_sub(LENGTH - 1));
        }
        self.tail = seam;
    }

    /// Returns the paths found so far.
    #[must_use]
    pub fn found(&self) -> &BTreeSet<StorePath> {
        &self.found
    }

    /// Returns the paths found.
    #[must_use]
    pub fn finish(self) -> BTreeSet<StorePath> {
        self.found
    }

    fn search(&mut self, bytes: &[u8]) {
        if self.candidates.is_empty() {
            return;
        }
        for (_, window) in DigitWindows::new(bytes) {
            if self.beginnings[beginning(window)]
                && let Some(path) = self.candidates.remove(window)
            {
                self.found.insert(path);
            }
        }
    }
}

/// The places in bytes where 32 digits follow each other, with these digits.
struct DigitWindows<'bytes> {
    bytes: &'bytes [u8],
    /// Where the next window begins.
    start: usize,
    /// How many bytes from there are known to be digits.
    digits: usize,
}

impl<'bytes> DigitWindows<'bytes> {
    fn new(bytes: &'bytes [u8]) -> Self {
        Self {
            bytes,
            start: 0,
            digits: 0,
        }
    }
}

impl<'bytes> Iterator for DigitWindows<'bytes> {
    type Item = (usize, &'bytes [u8; LENGTH]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.start;
            let window = self.bytes.get(start..)?.first_chunk::<LENGTH>()?;
            // From the end backwards: a byte that is no digit rules out all windows over it, so
            // most bytes of ordinary files are never looked at.
            let unknown = &window[self.digits..];
            match unknown.iter().rposition(|byte| !base32::is_digit(*byte)) {
                Some(position) => {
                    let passed = self.digits + position + 1;
                    self.start += passed;
                    self.digits = LENGTH - passed;
                }
                None => {
                    self.start += 1;
                    self.digits = LENGTH - 1;
                    return Some((start, window));
                }
            }
        }
    }
}

fn hash_part(path: &StorePath) -> [u8; LENGTH] {
    let digits = path.hash_part().as_bytes().first_chunk().copied();
    digits.expect("a hash part has 32 digits")
}

/// Returns the value of the first three digits.
fn beginning(digits: &[u8; LENGTH]) -> usize {
    digits[..3].iter().fold(0, |sum, digit| {
        sum << 5 | usize::from(base32::value(*digit) & 31)
    })
}

impl Write for ReferenceScanner {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.feed(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes a NAR as if its references to its own path were zeros, since a content-addressed path
/// cannot contain the hash that its own name follows from.
#[derive(Debug, Clone)]
pub struct SelfReferenceHasher {
    hash_part: [u8; LENGTH],
    sha256: Sha256,
    /// What may be the start of a reference, and is not hashed yet.
    pending: Vec<u8>,
    /// How many bytes were hashed.
    hashed: u64,
    /// Where the references began.
    positions: Vec<u64>,
}

/// What [`SelfReferenceHasher`] found. Both hashes are in use, and are the same for the contents
/// that have no reference to themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfReferenceHashes {
    /// As Nix takes it since 2.35 and took it up to 2.16: the positions of the references count,
    /// so that contents with zeros in their place have another hash.
    pub with_positions: Hash,
    /// As Nix 2.17 to 2.34 take it.
    pub without_positions: Hash,
    /// How many bytes there were.
    pub size: u64,
    /// How many references there were.
    pub references: usize,
}

impl SelfReferenceHasher {
    /// Starts with nothing hashed; the path is the one that the NAR has now.
    #[must_use]
    pub fn new(path: &StorePath) -> Self {
        Self {
            hash_part: hash_part(path),
            sha256: Sha256::new(),
            pending: Vec::new(),
            hashed: 0,
            positions: Vec::new(),
        }
    }

    /// Returns the hashes of all that was written.
    #[must_use]
    pub fn finish(mut self) -> SelfReferenceHashes {
        self.hash_up_to(self.pending.len());
        let finish = |sha256: Sha256| Hash::from_sha256(sha256.finalize().into());
        let without_positions = finish(self.sha256.clone());
        for position in &self.positions {
            self.sha256.update(format!("|{position}"));
        }
        SelfReferenceHashes {
            with_positions: finish(self.sha256),
            without_positions,
            size: self.hashed,
            references: self.positions.len(),
        }
    }

    fn hash_up_to(&mut self, end: usize) {
        self.sha256.update(&self.pending[..end]);
        self.hashed += end as u64;
        self.pending.drain(..end);
    }
}

impl Write for SelfReferenceHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        let mut found: Vec<usize> = Vec::new();
        for (start, window) in DigitWindows::new(&self.pending) {
            // Of occurrences that overlap, the first counts.
            let apart = found.last().is_none_or(|last| last + LENGTH <= start);
            if apart && *window == self.hash_part {
                found.push(start);
            }
        }
        for start in found {
            self.positions.push(self.hashed + start as u64);
            self.pending[start..start + LENGTH].fill(0);
        }
        self.hash_up_to(self.pending.len().saturating_sub(LENGTH - 1));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> StorePath {
        StorePath::text(name, &Hash::sha256(name.as_bytes()), &BTreeSet::new()).unwrap()
    }

    #[test]
    fn references_are_found_across_any_chunks() {
        let [a, b, c] = ["a", "b", "c"].map(path);
        let text = format!(
            "xx{}yy{a}\0{}{}",
            &c.hash_part()[1..],
            b.hash_part(),
            b.hash_part()
        );
        for size in 1..text.len() {
            let mut scanner = ReferenceScanner::new([a.clone(), b.clone(), c.clone()]);
            text.as_bytes()
                .chunks(size)
                .for_each(|chunk| scanner.feed(chunk));
            assert_eq!(
                scanner.finish(),
                BTreeSet::from([a.clone(), b.clone()]),
                "chunks of {size}"
            );
        }
    }

    #[test]
    fn a_hash_part_inside_other_digits_counts() {
        let a = path("a");
        let mut scanner = ReferenceScanner::new([a.clone()]);
        scanner.feed(format!("0000{}1111", a.hash_part()).as_bytes());
        assert_eq!(scanner.found(), &BTreeSet::from([a]));
    }

    #[test]
    fn references_to_itself_are_zeros_whatever_the_chunks() {
        let a = path("a");
        let text = format!("12345{0}{0}-{1}", a.hash_part(), &a.hash_part()[1..]);
        let zeroed = text.replace(a.hash_part(), &"\0".repeat(LENGTH));
        let expected = SelfReferenceHashes {
            with_positions: Hash::sha256(format!("{zeroed}|5|37").as_bytes()),
            without_positions: Hash::sha256(zeroed.as_bytes()),
            size: text.len() as u64,
            references: 2,
        };
        for size in 1..text.len() {
            let mut hasher = SelfReferenceHasher::new(&a);
            text.as_bytes()
                .chunks(size)
                .for_each(|chunk| hasher.write_all(chunk).unwrap());
            assert_eq!(hasher.finish(), expected, "chunks of {size}");
        }
        let mut hasher = SelfReferenceHasher::new(&a);
        hasher.write_all(b"nothing").unwrap();
        let hashes = hasher.finish();
        assert_eq!(hashes.with_positions, Hash::sha256(b"nothing"));
        assert_eq!(hashes.without_positions, hashes.with_positions);
        assert_eq!((hashes.size, hashes.references), (7, 0));
    }
}
