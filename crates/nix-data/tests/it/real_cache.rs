//! Binary caches: those that the real Nix makes, and those that we make and it reads.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use fs_err as fs;
use nix_data::nar::{Listing, Node};
use nix_data::references::{ReferenceScanner, SelfReferenceHasher};
use nix_data::{CacheInfo, Compression, Hash, NarInfo, PublicKey, SecretKey, StorePath};
use testkit::nix::Nix;

use crate::trees::{directory, file, files, nar, place, tricky};

fn key() -> SecretKey {
    SecretKey::generate_from_seed("ours-1", [42; 32]).unwrap()
}

fn write(path: &Path, contents: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().write_all(contents).unwrap();
}

fn narinfo(cache: &Path, path: &str) -> (String, NarInfo) {
    let path: StorePath = path.parse().unwrap();
    let text = fs::read_to_string(cache.join(format!("{}.narinfo", path.hash_part()))).unwrap();
    let info = NarInfo::parse(&text).unwrap();
    (text, info)
}

/// Puts paths with and without references into Nix's store: the last ones refer to the first.
fn fill(nix: &Nix) -> Vec<String> {
    let tree = nix.folder().join("tree");
    place(&tricky(), &tree);
    let added = nix
        .text(&["store", "add", "--name", "tree", tree.to_str().unwrap()])
        .unwrap();
    let expression = r#"
        let
          a = builtins.toFile "a.txt" "a";
          b = builtins.toFile "b.txt" "b refers to ${a}";
          c = builtins.toFile "c.txt" "c refers to ${b} and ${a}";
          d = derivation { name = "d"; system = "none"; builder = c; };
        in "${a}\n${b}\n${c}\n${d.drvPath}""#;
    let mut paths = vec![added];
    let printed = nix.text(&["eval", "--raw", "--expr", expression]).unwrap();
    paths.extend(printed.lines().map(str::to_owned));
    let moved = nix
        .text(&["store", "make-content-addressed", "--json", &paths[3]])
        .unwrap();
    let moved: serde_json::Value = serde_json::from_str(&moved).unwrap();
    paths.push(moved["rewrites"][&paths[3]].as_str().unwrap().to_owned());
    paths
}

#[test]
fn caches_of_nix_are_read_and_written_again_bit_by_bit() {
    testkit::require!(nix);
    for nix in Nix::every().unwrap() {
        let paths = fill(&nix);
        let key_file = nix.folder().join("key");
        write(&key_file, key().expose().as_bytes());
        for compression in [
            Compression::None,
            Compression::Xz,
            Compression::Zstd,
            Compression::Bzip2,
        ] {
            let cache = nix.folder().join(format!("cache-{compression}"));
            let url = format!(
                "file://{}?compression={compression}&write-nar-listing=true&secret-key={}",
                cache.display(),
                key_file.display()
            );
            let copy = ["copy", "--no-check-sigs", "--to", &url];
            let words = copy.into_iter().chain(paths.iter().map(String::as_str));
            nix.text(&words.collect::<Vec<_>>()).unwrap();
            for path in &paths {
                check_narinfo(&nix, &cache, path, compression);
            }
            let text = fs::read_to_string(cache.join("nix-cache-info")).unwrap();
            let info: CacheInfo = text.parse().unwrap();
            assert_eq!(info.to_string(), text);
            assert_eq!(info.store_dir, "/nix/store");
        }
    }
}

fn check_narinfo(nix: &Nix, cache: &Path, path: &str, compression: Compression) {
    let (text, info) = narinfo(cache, path);
    assert_eq!(info.to_string(), text);
    assert_eq!(info.store_path.to_string(), path);
    assert_eq!(info.compression, compression);
    assert_eq!(info.signatures, [key().sign(info.fingerprint().as_bytes())]);
    let keys = [
        SecretKey::generate_from_seed("other-1", [1; 32]).unwrap(),
        key(),
    ];
    let keys = keys.map(|key| key.public_key());
    assert_eq!(info.verify(&keys), Some(&keys[1]));
    assert!(info.is_content_addressed(), "{text}");
    let file = fs::File::open(cache.join(&info.url)).unwrap();
    assert_eq!(info.file_size, Some(file.metadata().unwrap().len()));
    let name = format!(
        "nar/{}{}",
        info.file_hash.clone().unwrap().digest_nix32(),
        compression.extension()
    );
    assert_eq!(info.url, name);

    let nar = nix
        .old_output("nix-store", &[&"--dump", &nix.real_path(path)])
        .unwrap();
    assert_eq!(
        (Hash::sha256(&nar), nar.len() as u64),
        (info.nar_hash.clone(), info.nar_size)
    );
    let candidates = info.references.iter().chain([&info.store_path]).cloned();
    let mut scanner = ReferenceScanner::new(candidates);
    nar.chunks(100).for_each(|chunk| scanner.feed(chunk));
    assert_eq!(
        scanner.finish(),
        info.references.iter().cloned().collect::<BTreeSet<_>>()
    );
    let listing = cache.join(format!("{}.ls", info.store_path.hash_part()));
    let listing = fs::read_to_string(listing).unwrap();
    assert_eq!(
        Listing::from_reader(&nar[..]).unwrap().to_json().unwrap(),
        listing
    );
}

/// Writes one path into a cache of our own.
fn publish(cache: &Path, path: &StorePath, tree: &Node, references: Vec<StorePath>) -> NarInfo {
    let (nar_hash, nar_size) = tree.nar_hash().unwrap();
    let url = format!("nar/{}.nar", nar_hash.digest_nix32());
    write(&cache.join(&url), &nar(tree));
    let mut info = NarInfo {
        store_path: path.clone(),
        url,
        compression: Compression::None,
        file_hash: Some(nar_hash.clone()),
        file_size: Some(nar_size),
        nar_hash,
        nar_size,
        references,
        deriver: None,
        system: None,
        signatures: Vec::new(),
        ca: None,
    };
    info.sign(&key());
    write(
        &cache.join(format!("{}.narinfo", path.hash_part())),
        info.to_string().as_bytes(),
    );
    info
}

/// A cache of ours: a library, and a program that refers to it and to itself.
struct OurCache {
    url: String,
    folder: std::path::PathBuf,
    library: StorePath,
    program: StorePath,
    program_tree: Node,
}

fn our_cache(nix: &Nix) -> OurCache {
    let folder = nix.folder().join("our-cache");
    let info = CacheInfo {
        store_dir: "/nix/store".to_owned(),
        want_mass_query: true,
        priority: Some(30),
    };
    write(&folder.join("nix-cache-info"), info.to_string().as_bytes());
    let [library, program] = ["library-1", "program-1"]
        .map(|name| StorePath::output(&Hash::sha256(name.as_bytes()), name, "out").unwrap());
    publish(&folder, &library, &tricky(), Vec::new());
    let script = format!("{library}/lib {program}/bin/program {program}");
    let program_tree = directory([
        ("bin", directory([("program", file(script.as_bytes()))])),
        (
            "share",
            directory([("link", Node::Symlink(program.to_string().into_bytes()))]),
        ),
    ]);
    publish(
        &folder,
        &program,
        &program_tree,
        vec![program.clone(), library.clone()],
    );
    OurCache {
        url: format!("file://{}", folder.display()),
        folder,
        library,
        program,
        program_tree,
    }
}

fn copy_from(nix: &Nix, cache: &OurCache, trusted: &PublicKey) -> Result<String, testkit::Failure> {
    let (trusted, program) = (trusted.to_string(), cache.program.to_string());
    let options = ["--option", "trusted-public-keys", &trusted];
    let words = [&["copy", "--from", &cache.url, &program], &options[..]].concat();
    nix.text(&words)
}

#[test]
fn nix_takes_our_caches_for_our_signatures_only() {
    testkit::require!(nix);
    for nix in Nix::every().unwrap() {
        let cache = our_cache(&nix);
        let stranger = SecretKey::generate_from_seed("ours-1", [1; 32])
            .unwrap()
            .public_key();
        let refused = copy_from(&nix, &cache, &stranger).unwrap_err().to_string();
        assert!(refused.contains("signature"), "{refused}");
        copy_from(&nix, &cache, &key().public_key()).unwrap();
        let dumped = nix
            .old_output(
                "nix-store",
                &[&"--dump", &nix.real_path(&cache.program.to_string())],
            )
            .unwrap();
        assert_eq!(
            Node::read_from(&dumped[..], 1 << 20).unwrap(),
            cache.program_tree
        );
        let public = key().public_key().to_string();
        let program = cache.program.to_string();
        let options = ["--option", "trusted-public-keys", &public, "--recursive"];
        for store in [
            cache.url.as_str(),
            nix.folder().join("store").to_str().unwrap(),
        ] {
            let verify = ["store", "verify", "--store", store, &program];
            nix.text(&[&verify, &options[..]].concat()).unwrap();
        }
        // A narinfo that was changed after it was signed is good for nothing.
        let (text, _) = narinfo(&cache.folder, &program);
        let narrowed = text.replace(&format!(" {}", cache.program.base_name()), "");
        let forged = narrowed.replace(&format!("{} ", cache.program.base_name()), "");
        assert_ne!(forged, text);
        let info = NarInfo::parse(&forged).unwrap();
        assert_eq!(info.verify(&[key().public_key()]), None);
    }
}

#[test]
fn content_addresses_with_references_to_themselves_are_those_of_nix() {
    testkit::require!(nix);
    for nix in Nix::every().unwrap() {
        let cache = our_cache(&nix);
        copy_from(&nix, &cache, &key().public_key()).unwrap();
        let [library, program] = [&cache.library, &cache.program].map(StorePath::to_string);
        let words = [
            "store",
            "make-content-addressed",
            "--json",
            &library,
            &program,
        ];
        let moved = nix.text(&words).unwrap();
        let moved: serde_json::Value = serde_json::from_str(&moved).unwrap();
        let new_path = |old: &StorePath| -> StorePath {
            moved["rewrites"][old.to_string()]
                .as_str()
                .unwrap()
                .parse()
                .unwrap()
        };
        let (library, moved_program) = (new_path(&cache.library), new_path(&cache.program));
        let ours = StorePath::source(
            "library-1",
            &tricky().nar_hash().unwrap().0,
            &BTreeSet::new(),
            false,
        );
        assert_eq!(ours.unwrap(), library);

        let mut rewritten = nar(&cache.program_tree);
        replace(
            &mut rewritten,
            cache.library.hash_part(),
            library.hash_part(),
        );
        let mut hasher = SelfReferenceHasher::new(&cache.program);
        rewritten
            .chunks(50)
            .for_each(|chunk| hasher.write_all(chunk).unwrap());
        let hashes = hasher.finish();
        assert_eq!(
            (hashes.size, hashes.references),
            (rewritten.len() as u64, 3)
        );
        // Nix has changed its mind on the positions, and back again.
        let library = BTreeSet::from([library]);
        let of = |hash: &Hash| StorePath::source("program-1", hash, &library, true).unwrap();
        let both = [hashes.with_positions, hashes.without_positions];
        let hash = both.into_iter().find(|hash| of(hash) == moved_program);
        assert!(hash.is_some(), "{nix:?} makes it {moved_program}");

        let target = nix.folder().join("moved");
        let url = format!("file://{}?compression=none", target.display());
        let moved_program = moved_program.to_string();
        nix.text(&["copy", "--no-check-sigs", "--to", &url, &moved_program])
            .unwrap();
        let (text, info) = narinfo(&target, &moved_program);
        assert_eq!(info.to_string(), text);
        assert_eq!(info.ca.as_ref().map(|ca| ca.hash.clone()), hash);
        assert!(info.is_content_addressed(), "{text}");
        assert_eq!(files(&cache.program_tree).len(), 1);
    }
}

/// Replaces a hash part by another everywhere.
fn replace(bytes: &mut [u8], from: &str, to: &str) {
    for start in 0..bytes.len().saturating_sub(from.len()) {
        if bytes[start..].starts_with(from.as_bytes()) {
            bytes[start..start + from.len()].copy_from_slice(to.as_bytes());
        }
    }
}
