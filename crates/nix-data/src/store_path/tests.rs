//! What is a store path, and what is not.

use super::*;

const DIGITS: &str = "0123456789abcdfghijklmnpqrsvwxyz";

fn named(name: &str) -> Result<StorePath, StorePathError> {
    StorePath::from_base_name(&format!("{DIGITS}-{name}"))
}

#[test]
fn parts_are_where_nix_has_them() {
    let path: StorePath = format!("/nix/store/{DIGITS}-hello-2.12.1.drv")
        .parse()
        .unwrap();
    assert_eq!(path.hash_part(), DIGITS);
    assert_eq!(path.name(), "hello-2.12.1.drv");
    assert_eq!(path.base_name(), format!("{DIGITS}-hello-2.12.1.drv"));
    assert_eq!(
        path.to_string(),
        format!("/nix/store/{DIGITS}-hello-2.12.1.drv")
    );
    assert!(path.is_derivation());
    let program = format!("{path}/bin/hello");
    assert_eq!(StorePath::split(&program), Ok((path, "/bin/hello")));
}

#[test]
fn names_follow_the_rules_of_nix() {
    for name in [
        "a",
        "A+b-c.d_e?f=g",
        ".hidden",
        "...",
        "..a",
        ".a-b",
        "-",
        "a-..",
        &"x".repeat(211),
    ] {
        assert!(named(name).is_ok(), "{name}");
    }
    for name in [".", "..", ".-", "..-", ".-a", "..-a"] {
        assert!(
            matches!(named(name), Err(StorePathError::NameDots { .. })),
            "{name}"
        );
    }
    for name in ["a/b", "a b", "a\0", "ä", "a~", "a\n"] {
        assert!(
            matches!(named(name), Err(StorePathError::NameCharacter { .. })),
            "{name}"
        );
    }
    for name in ["", &"x".repeat(212)] {
        assert!(
            matches!(named(name), Err(StorePathError::NameLength { .. })),
            "{name}"
        );
    }
}

#[test]
fn other_paths_are_refused() {
    let outside = |path: &str| {
        assert!(
            matches!(
                path.parse::<StorePath>(),
                Err(StorePathError::Outside { .. })
            ),
            "{path}"
        );
    };
    outside("");
    outside("/nix/store");
    outside(&format!("{DIGITS}-a"));
    outside(&format!("/nix/storeX/{DIGITS}-a"));
    outside(&format!("nix/store/{DIGITS}-a"));
    for base in [
        "",
        "a",
        "-a",
        DIGITS,
        &format!("{DIGITS}a"),
        &format!("e{}-a", &DIGITS[1..]),
    ] {
        let error = StorePath::from_base_name(base).unwrap_err();
        assert!(matches!(error, StorePathError::HashPart { .. }), "{base}");
    }
    // 32 bytes end within a character here.
    assert!(StorePath::from_base_name(&format!("{}ä-a", &DIGITS[1..])).is_err());
    assert!(
        format!("/nix/store/{DIGITS}-a/")
            .parse::<StorePath>()
            .is_err()
    );
    assert!(
        format!("/nix/store/{DIGITS}-a/../b")
            .parse::<StorePath>()
            .is_err()
    );
}

#[test]
fn order_is_that_of_the_base_names() {
    let mut paths = [
        named("b").unwrap(),
        named("a-b").unwrap(),
        named("a").unwrap(),
    ];
    paths.sort();
    assert_eq!(paths.map(|path| path.name().to_owned()), ["a", "a-b", "b"]);
}

#[test]
fn only_sha256_makes_sources_and_texts() {
    let sha1 = Hash::from_digest(HashAlgorithm::Sha1, &[1; 20]).unwrap();
    let none = BTreeSet::new();
    assert!(matches!(
        StorePath::source("a", &sha1, &none, false),
        Err(StorePathError::Algorithm { .. })
    ));
    assert!(matches!(
        StorePath::text("a", &sha1, &none),
        Err(StorePathError::Algorithm { .. })
    ));
    assert!(StorePath::fixed_output("a", Ingestion::Recursive, &sha1).is_ok());
}
