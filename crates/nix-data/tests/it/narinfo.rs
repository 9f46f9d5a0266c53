//! narinfo texts: what is read, what is refused and why, and what signatures cover.

use nix_data::{Compression, HashAlgorithm, NarInfo, NarInfoError, SecretKey};

const TEXT: &str = "\
StorePath: /nix/store/p2ppxr1r2sb4q8hii4l9z0h3a8fjv5az-b.txt
URL: nar/1l7ag645z75g26p9rci5mnzbv4jsil05y8gc2ahhqadw4hwayhi6.nar.zst
Compression: zstd
FileHash: sha256:1l7ag645z75g26p9rci5mnzbv4jsil05y8gc2ahhqadw4hwayhi6
FileSize: 248
NarHash: sha256:1mdl0ggij8nmvgfvhx3q8z9n56lx08r419aidbq61wb019rzrrvc
NarSize: 1064
References: g1qp5k3hapvsriswfzlw41x710w3klpp-x-dev p2ppxr1r2sb4q8hii4l9z0h3a8fjv5az-b.txt
Deriver: 040xifk5w527swvfrd2g2gyfihfbyn4w-x.drv
CA: text:sha256:1mdl0ggij8nmvgfvhx3q8z9n56lx08r419aidbq61wb019rzrrvc
";

/// Returns the text with a line of this key in place of the one it has, or in front.
fn with(key: &str, line: &str) -> String {
    let others = TEXT
        .lines()
        .filter(|one| !one.starts_with(&format!("{key}:")));
    std::iter::once(line)
        .chain(others)
        .filter(|one| !one.is_empty())
        .map(|one| format!("{one}\n"))
        .collect()
}

fn error(text: &str) -> NarInfoError {
    NarInfo::parse(text).unwrap_err()
}

#[test]
fn every_field_is_read_and_written() {
    let info = NarInfo::parse(TEXT).unwrap();
    assert_eq!(info.to_string(), TEXT);
    assert_eq!(info.store_path.name(), "b.txt");
    assert_eq!(info.compression, Compression::Zstd);
    assert_eq!((info.file_size, info.nar_size), (Some(248), 1064));
    assert_eq!(info.references.len(), 2);
    assert_eq!(info.deriver.as_ref().map(|path| path.name()), Some("x.drv"));
    assert_eq!(
        info.ca.as_ref().map(|ca| ca.hash.clone()),
        Some(info.nar_hash.clone())
    );
}

#[test]
fn what_nix_forgives_is_forgiven() {
    let info = NarInfo::parse(&with("Compression", "")).unwrap();
    assert_eq!(info.compression, Compression::Bzip2);
    let info = NarInfo::parse(&with("Compression", "Compression: ")).unwrap();
    assert_eq!(info.compression, Compression::Bzip2);
    let info = NarInfo::parse(&with("Deriver", "Deriver: unknown-deriver")).unwrap();
    assert_eq!(info.deriver, None);
    for empty in ["References: ", "References:"] {
        let info = NarInfo::parse(&with("References", empty)).unwrap();
        assert!(info.references.is_empty());
        assert!(info.to_string().contains("\nReferences: \n"));
    }
    let info = NarInfo::parse(&with("System", "System: x86_64-linux")).unwrap();
    assert_eq!(info.system.as_deref(), Some("x86_64-linux"));
    assert_eq!(
        NarInfo::parse(&with("Future", "Future: x: y"))
            .unwrap()
            .to_string(),
        TEXT
    );
    assert_eq!(NarInfo::parse(&with("CA", "CA: ")).unwrap().ca, None);
}

#[test]
fn references_and_signatures_are_sorted_and_single() {
    let [a, b] = ["1", "2"].map(|seed| {
        SecretKey::generate_from_seed(&format!("key-{seed}"), [seed.as_bytes()[0]; 32]).unwrap()
    });
    let mut info = NarInfo::parse(TEXT).unwrap();
    info.references.reverse();
    info.references.push(info.references[0].clone());
    for key in [&b, &a, &b] {
        info.sign(key);
    }
    assert_eq!(info.signatures.len(), 2);
    let again = NarInfo::parse(&info.to_string()).unwrap();
    assert_eq!(again.references.len(), 2);
    assert!(again.references.is_sorted());
    assert_eq!(again.fingerprint(), info.fingerprint());
    assert_eq!(
        again.verify(&[b.public_key(), a.public_key()]),
        Some(&b.public_key())
    );
}

#[test]
fn signatures_cover_path_hash_size_and_references() {
    let key = SecretKey::generate_from_seed("key-1", [1; 32]).unwrap();
    let mut info = NarInfo::parse(TEXT).unwrap();
    info.sign(&key);
    let keys = [key.public_key()];
    assert!(info.verify(&keys).is_some());
    assert_eq!(
        info.fingerprint(),
        "1;/nix/store/p2ppxr1r2sb4q8hii4l9z0h3a8fjv5az-b.txt;\
         sha256:1mdl0ggij8nmvgfvhx3q8z9n56lx08r419aidbq61wb019rzrrvc;1064;\
         /nix/store/g1qp5k3hapvsriswfzlw41x710w3klpp-x-dev,\
         /nix/store/p2ppxr1r2sb4q8hii4l9z0h3a8fjv5az-b.txt"
    );
    let changed = [
        NarInfo {
            nar_size: 1065,
            ..info.clone()
        },
        NarInfo {
            nar_hash: nix_data::Hash::sha256(b""),
            ..info.clone()
        },
        NarInfo {
            references: Vec::new(),
            ..info.clone()
        },
        NarInfo {
            store_path: info.references[0].clone(),
            ..info.clone()
        },
    ];
    assert!(changed.iter().all(|one| one.verify(&keys).is_none()));
    assert!(info.verify(&[]).is_none());
}

#[test]
fn a_cut_off_narinfo_is_never_taken() {
    for end in 0..TEXT.len() {
        let cut = &TEXT[..end];
        // Without its last lines it is whole again: they are optional.
        if NarInfo::parse(cut).is_ok() {
            assert!(
                cut.ends_with('\n') && cut.contains("\nNarSize: "),
                "{cut:?}"
            );
        }
    }
}

#[test]
fn wrong_narinfos_are_refused_with_the_cause() {
    use NarInfoError as E;
    for key in ["StorePath", "URL", "NarHash", "NarSize"] {
        assert!(matches!(error(&with(key, "")), E::Missing { key: missing } if missing == key));
    }
    let keys = [
        "StorePath",
        "URL",
        "Compression",
        "FileHash",
        "FileSize",
        "NarHash",
        "NarSize",
    ];
    for key in keys.into_iter().chain(["References", "Deriver", "CA"]) {
        let line = TEXT
            .lines()
            .find(|line| line.starts_with(&format!("{key}:")))
            .unwrap();
        assert!(
            matches!(error(&format!("{TEXT}{line}\n")), E::Twice { .. }),
            "{key}"
        );
    }
    assert!(matches!(error("<html>\n"), E::Line { line: 1, .. }));
    assert!(matches!(
        error(&with("URL", "URL:nar/a")),
        E::Line { line: 1, .. }
    ));
    assert!(matches!(
        error(&with("URL", "URL: ../../etc/passwd")),
        E::Url(_)
    ));
    assert!(matches!(
        error(&with("URL", "URL: https://example.org/a.nar")),
        E::Url(_)
    ));
    assert!(matches!(
        error(&with("Compression", "Compression: br")),
        E::Compression { .. }
    ));
    for value in ["0", "-1", "+1", "", "1 ", "0x10", "18446744073709551616"] {
        assert!(matches!(
            error(&with("NarSize", &format!("NarSize: {value}"))),
            E::Number { .. }
        ));
    }
    assert!(matches!(
        error(&with("NarHash", "NarHash: sha256:00")),
        E::Hash { .. }
    ));
    let sha1 = format!("NarHash: sha1:{}", "0".repeat(40));
    assert!(matches!(
        error(&with("NarHash", &sha1)),
        E::Algorithm {
            key: "NarHash",
            algorithm: HashAlgorithm::Sha1
        }
    ));
    assert!(matches!(
        error(&with("StorePath", "StorePath: /etc/passwd")),
        E::StorePath { .. }
    ));
    assert!(matches!(
        error(&with("References", "References: ../x")),
        E::StorePath { .. }
    ));
    assert!(matches!(
        error(&with("Deriver", "Deriver: x")),
        E::StorePath { .. }
    ));
    assert!(matches!(error(&with("Sig", "Sig: x")), E::Signature(_)));
    assert!(matches!(error(&with("CA", "CA: x")), E::ContentAddress(_)));
    assert!(matches!(
        error(&with("System", "System: a;b")),
        E::System { .. }
    ));
    assert!(matches!(
        error(&TEXT.replace('\n', "\r\n")),
        E::StorePath { .. }
    ));
}

#[test]
fn sizes_are_bounded() {
    use NarInfoError as E;
    assert!(matches!(
        error(&with("X", &format!("X: {}", "x".repeat(9_000)))),
        E::LongLine { .. }
    ));
    assert!(matches!(
        error(&with("X", &"x: y\n".repeat(1 << 20))),
        E::TooLarge { .. }
    ));
    let reference = |number: u32| {
        let digits = format!("{number:032}");
        format!(" {digits}-a")
    };
    let many = |count: u32| {
        with(
            "References",
            &format!(
                "References:{}",
                (0..count).map(reference).collect::<String>()
            ),
        )
    };
    assert_eq!(
        NarInfo::parse(&many(10_000)).unwrap().references.len(),
        10_000
    );
    assert!(matches!(
        error(&many(10_001)),
        E::TooMany {
            key: "References",
            ..
        }
    ));
    let key = SecretKey::generate_from_seed("k", [1; 32]).unwrap();
    let lines: String = (0..101_u8)
        .map(|one| format!("Sig: {}\n", key.sign(&[one])))
        .collect();
    assert!(matches!(
        error(&format!("{TEXT}{lines}")),
        E::TooMany { key: "Sig", .. }
    ));
}
