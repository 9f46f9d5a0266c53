//! NARs and listings against those of the real Nix, byte for byte and both ways.

use std::process::Command;

use fs_err as fs;
use nix_data::Hash;
use nix_data::nar::{Listing, Node};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use testkit::nix::Nix;

use crate::trees::{any_node, file, nar, not_text, place, tricky};

/// Returns the trees that all these tests are about: chosen ones, and some that anything made.
fn trees() -> Vec<Node> {
    let chosen = [
        tricky(),
        not_text(),
        file(b""),
        file(b"root file"),
        Node::File {
            executable: true,
            contents: b"root program".to_vec(),
        },
        Node::Symlink(b"root link".to_vec()),
        Node::Directory(Default::default()),
    ];
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let arbitrary = (0..20).map(|_| any_node().new_tree(&mut runner).unwrap().current());
    chosen
        .into_iter()
        .chain(arbitrary.collect::<Vec<_>>())
        .collect()
}

#[test]
fn what_nix_dumps_is_what_we_write() {
    testkit::require!(nix);
    for nix in Nix::every().unwrap() {
        for (number, tree) in trees().iter().enumerate() {
            let path = nix.folder().join(format!("tree-{number}"));
            place(tree, &path);
            let dumped = nix.old_output("nix-store", &[&"--dump", &path]).unwrap();
            assert!(
                dumped == nar(tree),
                "{nix:?}: the NAR of {} differs",
                path.display()
            );
            assert_eq!(&Node::read_from(&dumped[..], 1 << 30).unwrap(), tree);
        }
    }
}

#[test]
fn nix_restores_what_we_write() {
    testkit::require!(nix);
    for nix in Nix::every().unwrap() {
        for (number, tree) in trees().iter().enumerate() {
            let [ours, theirs] =
                ["ours", "theirs"].map(|name| nix.folder().join(format!("{name}-{number}")));
            place(tree, &ours);
            let mut restore = nix.old_command("nix-store");
            restore.arg("--restore").arg(&theirs);
            let (success, _, said) = Nix::with_input(restore, &nar(tree)).unwrap();
            assert!(success, "{said}");
            let mut compare = Command::new("diff");
            compare
                .args(["--recursive", "--no-dereference"])
                .args([&ours, &theirs]);
            assert_eq!(testkit::run(&mut compare).unwrap(), "");
            let again = nix.old_output("nix-store", &[&"--dump", &theirs]).unwrap();
            assert!(
                again == nar(tree),
                "the NAR of {} differs",
                theirs.display()
            );
        }
    }
}

#[test]
fn hashes_of_nars_are_those_of_nix() {
    testkit::require!(nix);
    for nix in Nix::every().unwrap() {
        let path = nix.folder().join("tree");
        place(&tricky(), &path);
        let printed = nix.text(&["hash", "path", path.to_str().unwrap()]).unwrap();
        let (hash, size) = tricky().nar_hash().unwrap();
        assert_eq!(printed, hash.to_sri());
        assert_eq!(
            (Hash::sha256(&nar(&tricky())), nar(&tricky()).len() as u64),
            (hash, size)
        );
    }
}

#[test]
fn listings_are_those_of_nix() {
    testkit::require!(nix);
    for nix in Nix::every().unwrap() {
        for (number, tree) in trees().iter().enumerate() {
            let listing = Listing::from_reader(&nar(tree)[..]).unwrap();
            let path = nix.folder().join(format!("tree-{number}.nar"));
            std::io::Write::write_all(&mut fs::File::create(&path).unwrap(), &nar(tree)).unwrap();
            let printed = nix.text(&[
                "nar",
                "ls",
                "--json",
                "--recursive",
                path.to_str().unwrap(),
                "/",
            ]);
            let Ok(json) = listing.to_json() else {
                assert!(printed.is_err(), "Nix lists what is not text: {printed:?}");
                continue;
            };
            let expected = format!("{{\"root\":{},\"version\":1}}", printed.unwrap());
            assert_eq!(json, expected);
            assert_eq!(Listing::from_json(expected.as_bytes()).unwrap(), listing);
        }
    }
}
