//! The seeds of the fuzz targets, most of them written by the real Nix, are all read.

use std::path::{Path, PathBuf};

use fs_err as fs;
use nix_data::nar::{Listing, Node};
use nix_data::{
    CacheInfo, ContentAddress, Hash, NarInfo, PublicKey, SecretKey, Signature, StorePath, base32,
};

/// Checks every seed of a target, and that there are some.
fn every_seed(target: &str, check: impl Fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let seeds: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut fs::File::open(&seed).unwrap(), &mut bytes).unwrap();
        assert!(check(&bytes), "{} is not read", seed.display());
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn every_seed_is_read() {
    every_seed("nar", |bytes| {
        let tree = Node::read_from(bytes, 1 << 20).unwrap();
        Listing::from_reader(bytes).is_ok() && tree.write_to(Vec::new()).unwrap() == bytes
    });
    every_seed("narinfo", |bytes| {
        NarInfo::parse(text(bytes)).unwrap().to_string() == text(bytes)
    });
    every_seed("cache_info", |bytes| {
        text(bytes).parse::<CacheInfo>().unwrap().to_string() == text(bytes)
    });
    every_seed("listing", |bytes| {
        Listing::from_json(bytes).unwrap().to_json().unwrap() == text(bytes)
    });
    every_seed("hash", |bytes| {
        text(bytes).parse::<Hash>().is_ok() || base32::decode(text(bytes)).is_ok()
    });
    every_seed("signature", |bytes| {
        let text = text(bytes);
        text.parse::<PublicKey>().is_ok()
            || text.parse::<SecretKey>().is_ok()
            || text.parse::<Signature>().is_ok()
    });
    every_seed("store_path", |bytes| {
        StorePath::split(text(bytes)).is_ok()
            || StorePath::from_base_name(text(bytes)).is_ok()
            || text(bytes).parse::<ContentAddress>().is_ok()
    });
}
