//! NARs that a stranger made to do harm, and calls that make no NAR.

use std::io::{self, Read};

use nix_data::nar::{DEEPEST, Event, Listing, NarError, Node, Reader, Writer};

use crate::trees::{directory, file, nar};

/// Writes strings as a NAR has them, whatever they say.
fn raw(strings: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for string in strings {
        bytes.extend_from_slice(&(string.len() as u64).to_le_bytes());
        bytes.extend_from_slice(string);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

/// Returns a NAR of a directory with entries of these names, in this order.
fn with_names(names: &[&[u8]]) -> Vec<u8> {
    let mut strings: Vec<&[u8]> = vec![b"nix-archive-1", b"(", b"type", b"directory"];
    for name in names {
        strings.extend([&b"entry"[..], b"(", b"name", name, b"node"]);
        strings.extend([&b"("[..], b"type", b"symlink", b"target", b"x", b")", b")"]);
    }
    strings.push(b")");
    raw(&strings)
}

fn with_target(target: &[u8]) -> Vec<u8> {
    raw(&[
        b"nix-archive-1",
        b"(",
        b"type",
        b"symlink",
        b"target",
        target,
        b")",
    ])
}

/// Reads all of it and returns what is wrong.
fn error(bytes: &[u8]) -> NarError {
    Reader::new(bytes)
        .finish()
        .map(|_| ())
        .expect_err("this NAR is hostile")
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let long = [b'n'; 256];
    for name in [
        &b""[..],
        b".",
        b"..",
        b"/",
        b"a/b",
        b"../a",
        b"/etc",
        b"a\0",
        b"\0",
        &long,
    ] {
        let error = error(&with_names(&[name]));
        let refused = matches!(error, NarError::Name { .. } | NarError::TooLong { .. });
        assert!(refused, "{name:?}: {error}");
    }
    let Err(NarError::Name { problem, .. }) = Reader::new(&with_names(&[b".."])[..]).finish()
    else {
        panic!("a name problem is named");
    };
    assert_eq!(problem, "would lead to another directory");
}

#[test]
fn entries_out_of_order_or_twice_are_refused() {
    for names in [
        [&b"b"[..], b"a"],
        [b"a", b"a"],
        [b"a.", b"a"],
        [b"\xff", b"z"],
    ] {
        let error = error(&with_names(&names));
        assert!(
            matches!(error, NarError::Order { .. }),
            "{names:?}: {error}"
        );
    }
}

#[test]
fn targets_that_no_symlink_can_have_are_refused() {
    for target in [&b""[..], b"a\0b"] {
        assert!(matches!(
            error(&with_target(target)),
            NarError::Target { .. }
        ));
    }
    assert!(matches!(
        error(&with_target(&[b'x'; 4096])),
        NarError::TooLong { most: 4095, .. }
    ));
    assert!(
        Reader::new(&with_target(&[b'x'; 4095])[..])
            .finish()
            .is_ok()
    );
}

#[test]
fn sizes_are_claims_that_take_no_memory() {
    let mut bytes = raw(&[b"nix-archive-1", b"(", b"type", b"regular", b"contents"]);
    bytes.extend_from_slice(&u64::MAX.to_le_bytes());
    bytes.extend_from_slice(b"short");
    assert!(matches!(error(&bytes), NarError::CutOff { .. }));
    assert!(matches!(
        Node::read_from(&bytes[..], u64::MAX),
        Err(NarError::CutOff { .. })
    ));
    assert!(matches!(
        Node::read_from(&bytes[..], 9),
        Err(NarError::TooLarge { most: 9, .. })
    ));
    let mut reader = Reader::new(&bytes[..]);
    reader.next_event().unwrap();
    let read = reader.contents().read_to_end(&mut Vec::new());
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);

    for strings in [
        &[][..],
        &[&b"nix-archive-1"[..]],
        &[b"nix-archive-1", b"(", b"type"],
    ] {
        let mut bytes = raw(strings);
        bytes.extend_from_slice(&(u64::MAX - 7).to_le_bytes());
        let error = error(&bytes);
        assert!(
            matches!(error, NarError::TooLong { .. } | NarError::Magic),
            "{error}"
        );
    }
}

#[test]
fn strings_in_the_wrong_place_are_refused() {
    let magic = &b"nix-archive-1"[..];
    let wrong: [&[&[u8]]; 8] = [
        &[magic, b"["],
        &[magic, b"(", b"kind"],
        &[magic, b"(", b"type", b"socket"],
        &[magic, b"(", b"type", b"regular", b"executable", b"yes"],
        &[magic, b"(", b"type", b"regular", b"target"],
        &[magic, b"(", b"type", b"regular", b")"],
        &[magic, b"(", b"type", b"directory", b"file"],
        &[magic, b"(", b"type", b"symlink", b"target", b"a", b"("],
    ];
    for strings in wrong {
        let error = error(&raw(strings));
        assert!(
            matches!(error, NarError::Unexpected { .. }),
            "{strings:?}: {error}"
        );
    }
    for bytes in [
        &b""[..],
        b"PK\x03\x04",
        &raw(&[b"nix-archive-2"]),
        &[0; 64],
        &[0xff; 64],
    ] {
        assert!(matches!(error(bytes), NarError::Magic));
    }
}

#[test]
fn padding_and_what_follows_the_end_are_checked() {
    let good = nar(&file(b"12345"));
    for (offset, byte) in good.iter().enumerate().filter(|(_, byte)| **byte == 0) {
        let mut bad = good.clone();
        bad[offset] = 1;
        assert!(
            Reader::new(&bad[..]).finish().is_err(),
            "byte {offset} was {byte}"
        );
    }
    let mut trailing = good.clone();
    trailing.push(0);
    assert!(
        matches!(error(&trailing), NarError::Trailing { offset } if offset == good.len() as u64)
    );
    for end in 0..good.len() {
        let error = error(&good[..end]);
        assert!(
            matches!(error, NarError::CutOff { .. } | NarError::Magic),
            "{end}: {error}"
        );
    }
}

#[test]
fn depth_is_bounded_for_readers_writers_and_listings() {
    let nested = |levels: usize| {
        (1..levels).fold(directory::<&str>([]), |inner, _| directory([("d", inner)]))
    };
    let deepest = nested(DEEPEST);
    let bytes = nar(&deepest);
    assert_eq!(Node::read_from(&bytes[..], 0).unwrap(), deepest);
    let listing = Listing::from_reader(&bytes[..]).unwrap();
    let json = listing.to_json().unwrap();
    assert_eq!(Listing::from_json(json.as_bytes()).unwrap(), listing);

    assert!(matches!(
        nested(DEEPEST + 1).write_to(io::sink()),
        Err(NarError::TooDeep)
    ));
    let mut strings: Vec<&[u8]> = vec![b"nix-archive-1"];
    for _ in 0..1_000 {
        strings.extend([
            &b"("[..],
            b"type",
            b"directory",
            b"entry",
            b"(",
            b"name",
            b"d",
            b"node",
        ]);
    }
    assert!(matches!(error(&raw(&strings)), NarError::TooDeep));
}

#[test]
fn listings_have_a_size_that_names_and_targets_and_folders_count_for() {
    let target = |letter: u8| Node::Symlink(vec![letter; 4_095]);
    let links = |count: usize, letter: u8| {
        let links = (0..count).map(|number| (format!("{number:06}"), target(letter)));
        nar(&Node::Directory(
            links
                .map(|(name, node)| (name.into_bytes(), node))
                .collect(),
        ))
    };
    let folders =
        (0..80_000).map(|number| (format!("{number:06}").into_bytes(), directory::<&str>([])));
    let folders = nar(&Node::Directory(folders.collect()));
    // 64 MiB are 16,000 such targets, and a sixth of them where JSON must escape each letter.
    for (bytes, fits) in [
        (links(15_000, b'x'), true),
        (links(17_000, b'x'), false),
        (links(2_500, 1), true),
        (links(2_800, 1), false),
        (folders, false),
    ] {
        let listing = Listing::from_reader_if_small(&bytes[..]).unwrap();
        assert_eq!(listing.is_some(), fits);
        let outcome = Listing::from_reader(&bytes[..]);
        assert_eq!(outcome.is_ok(), fits);
        if let Err(error) = outcome {
            assert!(matches!(error, NarError::TooLarge { .. }), "{error}");
        }
        // What is not listed is read all the same.
        let cut = Listing::from_reader_if_small(&bytes[..bytes.len() - 8]);
        assert!(matches!(cut, Err(NarError::CutOff { .. })), "{cut:?}");
    }
}

#[test]
fn a_writer_refuses_what_no_reader_takes() {
    let mut writer = Writer::new(Vec::new());
    writer.directory().unwrap();
    assert!(matches!(writer.entry(b".."), Err(NarError::Name { .. })));
    assert!(matches!(writer.symlink(b""), Err(NarError::Target { .. })));
    assert!(matches!(writer.symlink(b"x"), Err(NarError::Misuse { .. })));
    assert!(matches!(
        writer.write_contents(b"x"),
        Err(NarError::Misuse { .. })
    ));
    writer.entry(b"b").unwrap();
    assert!(matches!(writer.entry(b"c"), Err(NarError::Misuse { .. })));
    assert!(matches!(
        writer.leave_directory(),
        Err(NarError::Misuse { .. })
    ));
    writer.file_bytes(false, b"b").unwrap();
    for name in [b"a", b"b"] {
        assert!(matches!(writer.entry(name), Err(NarError::Order { .. })));
    }
    writer.entry(b"c").unwrap();
    writer.file(true, 3, &b"ccc"[..]).unwrap();
    writer.leave_directory().unwrap();
    assert!(matches!(writer.directory(), Err(NarError::Misuse { .. })));
    let expected = directory([
        ("b", file(b"b")),
        (
            "c",
            Node::File {
                executable: true,
                contents: b"ccc".to_vec(),
            },
        ),
    ]);
    assert_eq!(writer.finish().unwrap(), nar(&expected));
    assert!(matches!(
        Writer::new(Vec::new()).finish(),
        Err(NarError::Misuse { .. })
    ));
}

#[test]
fn a_file_that_changes_while_it_is_packed_is_noticed() {
    for (contents, given) in [(&b"1234"[..], "fewer"), (b"123456", "more")] {
        let error = Writer::new(Vec::new())
            .file(false, 5, contents)
            .unwrap_err();
        assert!(matches!(error, NarError::Contents { given: found, .. } if found == given));
    }
}

#[test]
fn errors_of_source_and_destination_are_kept() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("disk full"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let is = |error: &NarError, text: &str| {
        std::error::Error::source(error).is_some_and(|source| source.to_string() == text)
    };
    assert!(is(
        &Reader::new(Broken).next_event().unwrap_err(),
        "disk on fire"
    ));
    assert!(is(
        &Writer::new(Vec::new()).file(false, 1, Broken).unwrap_err(),
        "disk on fire"
    ));
    assert!(is(
        &file(b"x").write_to(Broken).map(|_| ()).unwrap_err(),
        "disk full"
    ));
    let bytes = nar(&file(b"x"));
    let mut reader = Reader::new(&bytes[..]);
    assert!(matches!(
        reader.next_event(),
        Ok(Some(Event::File { size: 1, .. }))
    ));
    assert!(is(
        &reader.copy_contents(&mut Broken).unwrap_err(),
        "disk full"
    ));
}
