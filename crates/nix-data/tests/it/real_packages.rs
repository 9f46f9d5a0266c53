//! Real programs as the real Nix packed them: the caches of the test packages, all of them.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use fs_err as fs;
use nix_data::nar::{Listing, Reader};
use nix_data::references::ReferenceScanner;
use nix_data::{Compression, HashingReader, NarInfo, PublicKey, StorePath};

#[test]
fn every_path_of_the_test_packages_is_what_its_narinfo_says() {
    testkit::require!(setup);
    let key: PublicKey = testkit::setup::cache_public_key().parse().unwrap();
    let zstd = testkit::setup::cache_dir();
    for (cache, compression) in [
        (zstd.with_file_name("cache-xz"), Compression::Xz),
        (zstd, Compression::Zstd),
    ] {
        let infos = narinfos(&cache, &key);
        let paths: Vec<StorePath> = infos.iter().map(|info| info.store_path.clone()).collect();
        assert!(paths.len() > 3, "{} holds packages", cache.display());
        for info in &infos {
            assert_eq!(info.compression, compression);
            check_nar(&cache, info, &paths);
        }
    }
}

/// Reads all narinfo files of a cache and checks their text and signatures.
fn narinfos(cache: &Path, key: &PublicKey) -> Vec<NarInfo> {
    let files = fs::read_dir(cache)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let narinfos = files.filter(|path| path.extension().is_some_and(|end| end == "narinfo"));
    narinfos
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let info = NarInfo::parse(&text).unwrap();
            assert_eq!(info.to_string(), text);
            assert_eq!(info.verify(std::slice::from_ref(key)), Some(key), "{text}");
            assert_eq!(path.file_stem().unwrap(), info.store_path.hash_part());
            info
        })
        .collect()
}

/// Reads a path's file once and checks hashes, sizes, structure, listing and references.
fn check_nar(cache: &Path, info: &NarInfo, candidates: &[StorePath]) {
    let mut file = HashingReader::new(fs::File::open(cache.join(&info.url)).unwrap());
    let mut nar = Vec::new();
    let decompressed: &mut dyn Read = match info.compression {
        Compression::Xz => &mut liblzma::read::XzDecoder::new(&mut file),
        _ => &mut zstd::Decoder::new(&mut file).unwrap(),
    };
    decompressed.read_to_end(&mut nar).unwrap();
    let (file_hash, file_size, _) = file.finish();
    assert_eq!(
        (Some(file_hash), Some(file_size)),
        (info.file_hash.clone(), info.file_size)
    );

    let mut hashed = HashingReader::new(&nar[..]);
    Reader::new(&mut hashed).finish().unwrap();
    let (nar_hash, nar_size, _) = hashed.finish();
    assert_eq!((&nar_hash, nar_size), (&info.nar_hash, info.nar_size));

    let listing = cache.join(format!("{}.ls", info.store_path.hash_part()));
    if let Ok(listing) = fs::read_to_string(listing) {
        assert_eq!(
            Listing::from_reader(&nar[..]).unwrap().to_json().unwrap(),
            listing
        );
    }

    // What Nix looked for while it built: inputs that never were candidates cannot be found.
    let mut scanner = ReferenceScanner::new(candidates.iter().cloned());
    scanner.feed(&nar);
    let references: BTreeSet<StorePath> = info.references.iter().cloned().collect();
    assert_eq!(
        scanner.finish(),
        references,
        "references of {}",
        info.store_path
    );
}
