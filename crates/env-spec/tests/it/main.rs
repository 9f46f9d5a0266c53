//! Integration tests of env-spec: against golden files, and with real packages and the real Nix.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod real_packages;

use std::collections::BTreeMap;

use env_spec::activation::{ActivationPlan, Variable};
use env_spec::generation::{
    ClosurePath, Generation, LivePointer, RECORD_VERSION, RevocationList, SystemGeneration,
};
use env_spec::lockfile::{
    CatalogRevision, LOCKFILE_VERSION, LockedEnvironment, LockedPackage, LockedSystem, Lockfile,
};
use env_spec::manifest::Manifest;
use env_spec::staleness::staleness;
use env_spec::{Digest, Record, Signed};
use nix_data::{Hash, SecretKey, StorePath};

const MANIFEST: &str = include_str!("../golden/manifest.toml");

fn store_path(name: &str) -> StorePath {
    format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}")
        .parse()
        .unwrap()
}

fn closure() -> Vec<ClosurePath> {
    let path = |name: &str, references: &[&str]| ClosurePath {
        path: store_path(name),
        nar_hash: Hash::sha256(name.as_bytes()),
        nar_size: 96,
        references: references.iter().map(|name| store_path(name)).collect(),
    };
    vec![
        path("nival-environment", &["python3-3.11.2"]),
        path("python3-3.11.2", &["python3-3.11.2"]),
    ]
}

fn plan() -> ActivationPlan {
    let folder = |name: &str| vec![format!("{}/{name}", store_path("nival-environment"))];
    ActivationPlan {
        variables: vec![Variable {
            name: "DATA".into(),
            value: "${HOME}/data".into(),
        }],
        search_paths: BTreeMap::from([("PATH".into(), folder("bin"))]),
        development_paths: BTreeMap::from([("CPATH".into(), folder("include"))]),
        hook: Some("true".into()),
    }
}

fn lockfile() -> Lockfile {
    let package = LockedPackage {
        install_id: "python3".into(),
        attr_path: "python3".into(),
        group: "toplevel".into(),
        pname: "python3".into(),
        version: "3.11.2".into(),
        priority: 5,
        derivation: Some(store_path("python3-3.11.2.drv")),
        outputs: BTreeMap::from([("out".into(), store_path("python3-3.11.2"))]),
        outputs_to_install: vec!["out".into()],
        licenses: vec!["Python-2.0".into()],
        free: true,
        description: Some("A language".into()),
        homepage: Some("https://www.python.org".into()),
        cpe: None,
        purl: None,
    };
    let locked = LockedSystem {
        packages: vec![package.clone()],
        environment: Some(LockedEnvironment {
            path: store_path("nival-environment"),
            closure: closure(),
            activation: plan(),
        }),
        unlocked_because: None,
    };
    let elsewhere = LockedSystem {
        packages: vec![package],
        environment: None,
        unlocked_because: Some("no binary cache has it".into()),
    };
    let revision = |name: &str, content: Option<&str>| CatalogRevision {
        revision: name.into(),
        nar_hash: content.map(|content| Hash::sha256(content.as_bytes())),
    };
    Lockfile {
        lockfile_version: LOCKFILE_VERSION,
        manifest: Manifest::parse(MANIFEST).unwrap().to_value(),
        groups: BTreeMap::from([
            ("science".into(), revision("r1", None)),
            ("toplevel".into(), revision("r2", Some("r2"))),
        ]),
        systems: BTreeMap::from([
            ("aarch64-linux".parse().unwrap(), elsewhere),
            ("x86_64-linux".parse().unwrap(), locked),
        ]),
    }
}

fn generation() -> Generation {
    let system = SystemGeneration {
        environment: store_path("nival-environment"),
        closure: closure(),
        activation: plan(),
        sboms: BTreeMap::from([("cyclonedx-1.6".into(), Digest::of(b"sbom"))]),
    };
    Generation {
        version: RECORD_VERSION,
        environment: "acme/api".parse().unwrap(),
        number: 2,
        parent: Some(Digest::of(b"parent")),
        created: "2026-11-24T10:00:00Z".into(),
        author: "A. Uthor".into(),
        message: "gölden \"quotes\"".into(),
        manifest: "version = 1\n".into(),
        lock: Digest::of(b"lock"),
        systems: BTreeMap::from([("x86_64-linux".parse().unwrap(), system)]),
    }
}

fn key() -> SecretKey {
    SecretKey::generate_from_seed("acme-1", [7; 32]).unwrap()
}

/// A signature over canonical bytes is as fixed as they are.
fn check_signed<R: Record + PartialEq + std::fmt::Debug>(record: &R, golden: &str) {
    let signed = Signed::new(record, &key()).unwrap();
    assert_eq!(
        format!("{}\n", serde_json::to_string(&signed).unwrap()),
        golden
    );
    let read: Signed = serde_json::from_str(golden).unwrap();
    let mut trusted = env_spec::TrustedKeys::default();
    trusted.add("acme", key().public_key());
    assert_eq!(
        &read
            .verify::<R>("the golden record", "acme", &trusted)
            .unwrap(),
        record
    );
}

#[test]
fn a_lock_is_written_and_read_as_ever() {
    let golden = include_str!("../golden/manifest.lock");
    assert_eq!(lockfile().to_text(), golden);
    assert_eq!(Lockfile::parse(golden).unwrap(), lockfile());
}

#[test]
fn the_golden_manifest_is_not_changed_against_the_golden_lock() {
    let lock = Lockfile::parse(include_str!("../golden/manifest.lock")).unwrap();
    let stale = staleness(&lock, &Manifest::parse(MANIFEST).unwrap());
    // The lock holds one of the packages only: that and nothing else is missed.
    assert!(
        stale
            .iter()
            .all(|one| one.to_string().starts_with("the lock lacks package")),
        "{stale:?}"
    );
}

#[test]
fn records_are_written_and_signed_as_ever() {
    check_signed(&generation(), include_str!("../golden/generation.json"));
    let pointer = LivePointer {
        environment: "acme/api".parse().unwrap(),
        number: 2,
        digest: Digest::of(b"generation"),
        sequence: 7,
        time: "2026-11-24T10:00:01Z".into(),
    };
    check_signed(&pointer, include_str!("../golden/live-pointer.json"));
    let revocations = RevocationList {
        owner: "acme".into(),
        revoked: BTreeMap::from([(Digest::of(b"bad"), "leaks".into())]),
        sequence: 1,
        time: "2026-11-24T10:00:02Z".into(),
    };
    check_signed(&revocations, include_str!("../golden/revocations.json"));
}
