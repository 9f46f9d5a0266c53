//! Listings that a stranger made to do harm, and how paths are found in honest ones.

use nix_data::nar::{Listing, ListingError, ListingNode, Node};

use crate::trees::{directory, file, nar};

#[test]
fn depth_is_bounded_wherever_it_is_hidden() {
    let open = "{\"type\":\"directory\",\"entries\":{\"d\":".repeat(100_000);
    let json = format!("{{\"version\":1,\"root\":{open}");
    assert!(matches!(
        Listing::from_json(json.as_bytes()),
        Err(ListingError::Json(_))
    ));
    for field in ["size", "type", "unknown", "narOffset"] {
        let json = format!("{{\"root\":{{\"{field}\":{}", "[".repeat(1_000_000));
        assert!(matches!(
            Listing::from_json(json.as_bytes()),
            Err(ListingError::Json(_))
        ));
    }
}

#[test]
fn listings_that_do_harm_are_refused() {
    let entry = |name: &str| {
        format!(
            "{{\"root\":{{\"entries\":{{{name}:{{\"target\":\"x\",\"type\":\"symlink\"}}}},\
             \"type\":\"directory\"}},\"version\":1}}"
        )
    };
    assert!(Listing::from_json(entry("\"good\"").as_bytes()).is_ok());
    for name in [
        "\"..\"",
        "\"a/b\"",
        "\"\"",
        "\"a\\u0000\"",
        &format!("\"{}\"", "n".repeat(256)),
    ] {
        assert!(
            Listing::from_json(entry(name).as_bytes()).is_err(),
            "{name}"
        );
    }
    let twice = entry("\"a\":{\"target\":\"x\",\"type\":\"symlink\"},\"a\"");
    assert!(Listing::from_json(twice.as_bytes()).is_err());
    let good = entry("\"a\"");
    let other = good.replace("\"version\":1", "\"version\":2");
    assert!(matches!(
        Listing::from_json(other.as_bytes()),
        Err(ListingError::Version { found: 2 })
    ));
    for bad in [
        "",
        "{}",
        "[]",
        "{\"version\":1}",
        &good[..good.len() - 1],
        &format!("{good}{good}"),
    ] {
        assert!(
            matches!(
                Listing::from_json(bad.as_bytes()),
                Err(ListingError::Json(_))
            ),
            "{bad}"
        );
    }
}

#[test]
fn listings_find_paths_without_following_symlinks() {
    let tree = directory([
        ("a", directory([("b", file(b"contents"))])),
        ("l", Node::Symlink(b"a".to_vec())),
    ]);
    let bytes = nar(&tree);
    let listing = Listing::from_reader(&bytes[..]).unwrap();
    let Some(ListingNode::File {
        size: 8,
        executable: false,
        nar_offset: Some(offset),
    }) = listing.lookup("a/b")
    else {
        panic!("the file is listed");
    };
    assert!(bytes[usize::try_from(*offset).unwrap()..].starts_with(b"contents"));
    assert_eq!(listing.lookup("/a//b/"), listing.lookup("a/b"));
    assert_eq!(listing.lookup(""), Some(&listing.root));
    for missing in ["b", "a/b/c", "l/b", "..", "a/../a"] {
        assert_eq!(listing.lookup(missing), None, "{missing}");
    }
}

#[test]
fn short_texts_of_large_trees_are_refused() {
    let folders = |count: usize| {
        let one = |number| format!("\"{number}\":{{\"type\":\"directory\",\"entries\":{{}}}}");
        let all: Vec<String> = (0..count).map(one).collect();
        let all = all.join(",");
        format!("{{\"version\":1,\"root\":{{\"type\":\"directory\",\"entries\":{{{all}}}}}}}")
    };
    assert!(Listing::from_json(folders(200_000).as_bytes()).is_ok());
    let error = Listing::from_json(folders(400_000).as_bytes()).unwrap_err();
    assert!(matches!(error, ListingError::Json(_)), "{error}");
}
