//! Store paths, hashes and content addresses against those of the real Nix.

use std::collections::BTreeSet;

use fs_err as fs;
use nix_data::nar::Node;
use nix_data::{Hash, HashAlgorithm, Ingestion, StorePath, base32};
use testkit::nix::Nix;

use crate::trees::{nar, place, tricky};

const ALGORITHMS: [HashAlgorithm; 4] = [
    HashAlgorithm::Md5,
    HashAlgorithm::Sha1,
    HashAlgorithm::Sha256,
    HashAlgorithm::Sha512,
];

/// Returns a hash of the algorithm that differs from seed to seed.
fn some_hash(algorithm: HashAlgorithm, seed: u8) -> Hash {
    let digest: Vec<u8> = [0, 1]
        .iter()
        .flat_map(|half| Hash::sha256(&[seed, *half]).digest().to_vec())
        .collect();
    Hash::from_digest(algorithm, &digest[..algorithm.length()]).unwrap()
}

/// Returns the store paths with these texts.
fn paths<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> BTreeSet<StorePath> {
    texts
        .into_iter()
        .map(|text| text.as_ref().parse().unwrap())
        .collect()
}

#[test]
fn every_encoding_of_a_hash_is_that_of_nix() {
    testkit::require!(nix);
    for nix in Nix::every().unwrap() {
        for (seed, algorithm) in ALGORITHMS.into_iter().enumerate() {
            let hash = some_hash(algorithm, seed as u8);
            let hex = hash.to_hex();
            let convert = |format: &str| {
                let options = ["--hash-algo", algorithm.name(), "--to", format];
                let words = [&["hash", "convert"], &options[..], &[&hex]].concat();
                nix.text(&words).unwrap()
            };
            assert_eq!(convert("nix32"), hash.digest_nix32());
            assert_eq!(convert("base16"), hash.to_hex());
            assert_eq!(convert("sri"), hash.to_sri());
            for spelling in [convert("nix32"), convert("base16"), convert("base64")] {
                assert_eq!(format!("{algorithm}:{spelling}").parse(), Ok(hash.clone()));
            }
            assert_eq!(base32::decode(&convert("nix32")).unwrap(), hash.digest());
        }
    }
}

#[test]
fn fixed_output_paths_are_those_of_nix() {
    testkit::require!(nix);
    for nix in Nix::every().unwrap() {
        for (seed, algorithm) in ALGORITHMS.into_iter().enumerate() {
            let hash = some_hash(algorithm, seed as u8);
            for (ingestion, options) in [
                (Ingestion::Flat, &[][..]),
                (Ingestion::Recursive, &[&"--recursive" as &dyn AsRef<_>]),
            ] {
                let hex = hash.to_hex();
                let rest: [&dyn AsRef<_>; 3] = [&algorithm.name(), &hex, &"some-name_1.0+x?y="];
                let words = [&[&"--print-fixed-path" as &dyn AsRef<_>], options, &rest].concat();
                let printed = nix.old_output("nix-store", &words).unwrap();
                let path = StorePath::fixed_output("some-name_1.0+x?y=", ingestion, &hash).unwrap();
                assert_eq!(
                    String::from_utf8(printed).unwrap().trim_end(),
                    path.to_string()
                );
            }
        }
    }
}

#[test]
fn added_trees_and_files_have_the_paths_that_nix_gives_them() {
    testkit::require!(nix);
    for nix in Nix::every().unwrap() {
        let (tree, flat) = (nix.folder().join("tree"), nix.folder().join("flat"));
        place(&tricky(), &tree);
        place(
            &Node::File {
                executable: false,
                contents: b"flat".to_vec(),
            },
            &flat,
        );
        let added = nix
            .text(&["store", "add", "--name", "a-tree", tree.to_str().unwrap()])
            .unwrap();
        let ours = StorePath::source(
            "a-tree",
            &Hash::sha256(&nar(&tricky())),
            &BTreeSet::new(),
            false,
        );
        assert_eq!(added, ours.unwrap().to_string());
        let words = [
            "store",
            "add",
            "--mode",
            "flat",
            "--name",
            "a-file",
            flat.to_str().unwrap(),
        ];
        let ours = StorePath::fixed_output("a-file", Ingestion::Flat, &Hash::sha256(b"flat"));
        assert_eq!(nix.text(&words).unwrap(), ours.unwrap().to_string());
    }
}

#[test]
fn text_paths_are_those_of_nix_with_references_too() {
    testkit::require!(nix);
    for nix in Nix::every().unwrap() {
        let expression = r#"
            let
              a = builtins.toFile "a.txt" "a";
              b = builtins.toFile "b.txt" "b refers to ${a}";
              c = builtins.toFile "c.txt" "c refers to ${b} and ${a}";
            in "${a}\n${b}\n${c}""#;
        let printed = nix.text(&["eval", "--raw", "--expr", expression]).unwrap();
        let [a, b, c] = printed.lines().collect::<Vec<_>>()[..] else {
            panic!("three paths were printed: {printed}");
        };
        let text = |name: &str, contents: String, references: &[&str]| {
            let hash = Hash::sha256(contents.as_bytes());
            StorePath::text(name, &hash, &paths(references))
                .unwrap()
                .to_string()
        };
        assert_eq!(a, text("a.txt", "a".to_owned(), &[]));
        assert_eq!(b, text("b.txt", format!("b refers to {a}"), &[a]));
        assert_eq!(
            c,
            text("c.txt", format!("c refers to {b} and {a}"), &[b, a])
        );
    }
}

#[test]
fn derivations_and_their_outputs_have_the_paths_that_nix_gives_them() {
    testkit::require!(nix);
    for nix in Nix::every().unwrap() {
        let expression = r#"
            let
              d = derivation {
                name = "x-1.0"; system = "none"; builder = "/bin/sh"; outputs = [ "out" "dev" ];
              };
            in "${d.drvPath}\n${d.out}\n${d.dev}""#;
        let printed = nix.text(&["eval", "--raw", "--expr", expression]).unwrap();
        let [derivation, out, dev] = printed.lines().collect::<Vec<_>>()[..] else {
            panic!("three paths were printed: {printed}");
        };
        let contents = fs::read_to_string(nix.real_path(derivation)).unwrap();
        let hash = Hash::sha256(contents.as_bytes());
        let ours = StorePath::text("x-1.0.drv", &hash, &BTreeSet::new()).unwrap();
        assert_eq!(ours.to_string(), derivation);
        assert!(ours.is_derivation());
        // Output paths follow from the derivation without them: it cannot contain its own hash.
        let without = contents.replace(out, "").replace(dev, "");
        let hash = Hash::sha256(without.as_bytes());
        for (output, path) in [("out", out), ("dev", dev)] {
            let ours = StorePath::output(&hash, "x-1.0", output).unwrap();
            assert_eq!(ours.to_string(), path);
        }
    }
}

#[test]
fn nix_and_we_take_the_same_names() {
    testkit::require!(nix);
    let names = [
        "a",
        ".a",
        "...",
        "..a",
        ".",
        "..",
        ".-",
        ".-a",
        "..-",
        "..-a",
        "a~b",
        "a b",
        "é",
        "a/b",
        "A+b-c.d_e?f=g",
        &"x".repeat(211),
        &"x".repeat(212),
    ];
    for nix in Nix::every().unwrap() {
        for name in names {
            let hash = Hash::sha256(b"x");
            let hex = hash.to_hex();
            let words: [&dyn AsRef<_>; 4] = [&"--print-fixed-path", &"sha256", &hex, &name];
            let printed = nix.old_output("nix-store", &words);
            let ours = StorePath::fixed_output(name, Ingestion::Flat, &hash);
            assert_eq!(
                printed.is_ok(),
                ours.is_ok(),
                "{name}: {printed:?} {ours:?}"
            );
        }
    }
}
