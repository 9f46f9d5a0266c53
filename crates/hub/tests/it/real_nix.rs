//! The real Nix, in the newest and the oldest version promised, against the hub's binary cache.

use std::collections::BTreeSet;

use api::hub::environment::{PutEnvironment, Visibility};
use fs_err as fs;
use nix_data::{Compression, ContentAddress, Hash, NarInfo, StorePath};
use testkit::nix::Nix;

use crate::fixtures::{Package, name, sign};
use crate::harness::Hub;

/// What the tests copy: a program with a handful of libraries.
const PROGRAM: &str = "jq";

/// Returns the store path of a program in the test packages' cache.
fn program_path(program: &str) -> String {
    let prefix = format!("{program}-");
    let narinfos = fs::read_dir(testkit::setup::cache_dir()).unwrap();
    let mut paths = narinfos.filter_map(|entry| {
        let path = entry.unwrap().path();
        let text = path.extension().is_some_and(|one| one == "narinfo");
        let narinfo = NarInfo::parse(&text.then(|| fs::read_to_string(path).unwrap())?).unwrap();
        narinfo
            .store_path
            .name()
            .starts_with(&prefix)
            .then(|| narinfo.store_path.to_string())
    });
    paths.next().unwrap()
}

/// Runs `nix`, fresh in what it believes of caches.
fn nix(nix: &Nix, words: &[&str]) -> Result<String, testkit::Failure> {
    let fresh = [
        "--option",
        "narinfo-cache-negative-ttl",
        "0",
        "--option",
        "download-attempts",
        "1",
    ];
    nix.text(&[words, &fresh].concat())
}

/// A Nix whose netrc file has this token for the hub.
fn sign_in(nix: &Nix, hub: &Hub, token: &str) -> String {
    let host = hub.address().split(':').next().unwrap();
    let file = nix
        .folder()
        .join(format!("netrc-{}", Hash::sha256(token.as_bytes()).to_hex()));
    fs::write(
        &file,
        format!("machine {host} login any password {token}\n"),
    )
    .unwrap();
    file.to_str().unwrap().to_owned()
}

/// Copies a program with its closure from the test packages into Nix's private store.
fn install(maker: &Nix, program: &str) -> String {
    let path = program_path(program);
    let source = format!("file://{}", testkit::setup::cache_dir().display());
    let keys = testkit::setup::cache_public_key();
    nix(
        maker,
        &[
            "copy",
            "--from",
            &source,
            "--option",
            "trusted-public-keys",
            &keys,
            &path,
        ],
    )
    .unwrap();
    path
}

/// Copies a program with its closure from the test packages to the hub, as a user of plain Nix would.
fn copy_to(maker: &Nix, hub: &Hub, program: &str, parameters: &str) -> (String, String) {
    let path = install(maker, program);
    let netrc = sign_in(maker, hub, &hub.token("demo", &[]));
    let cache = format!("{}/cache/demo{parameters}", hub.url());
    nix(
        maker,
        &[
            "copy",
            "--to",
            &cache,
            "--option",
            "netrc-file",
            &netrc,
            &path,
        ],
    )
    .unwrap();
    (path, netrc)
}

#[tokio::test(flavor = "multi_thread")]
async fn nix_copies_to_the_hub_and_from_it() {
    testkit::require!(nix, setup);
    for maker in Nix::every().unwrap() {
        let hub = Hub::start();
        let (path, netrc) = copy_to(&maker, &hub, PROGRAM, "?compression=zstd");
        let cache = format!("{}/cache/demo", hub.url());
        let keys = testkit::setup::cache_public_key();
        let trusting = [
            "--option",
            "trusted-public-keys",
            &keys,
            "--option",
            "netrc-file",
            &netrc,
        ];

        // The closure is whole, and what the hub says of it is what Nix's own store says.
        let asked = ["path-info", "--recursive", "--size", &path];
        let remote = [&asked[..], &["--store", &cache], &trusting].concat();
        assert_eq!(nix(&maker, &remote).unwrap(), nix(&maker, &asked).unwrap());

        // The signatures of the test packages came along.
        let verify = ["store", "verify", "--recursive", "--store", &cache, &path];
        nix(&maker, &[&verify[..], &trusting].concat()).unwrap();

        for user in Nix::every().unwrap() {
            nix(
                &user,
                &[&["copy", "--from", &cache, &path][..], &trusting].concat(),
            )
            .unwrap();
            nix(
                &user,
                &[&["store", "verify", "--recursive", &path][..], &trusting].concat(),
            )
            .unwrap();
            assert!(user.real_path(&format!("{path}/bin/{PROGRAM}")).exists());
        }
        let listing = ["store", "ls", "--store", &cache, &format!("{path}/bin")];
        let listed = nix(&maker, &[&listing[..], &trusting].concat()).unwrap();
        assert!(listed.contains(PROGRAM), "{listed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_of_nix_is_taken_but_bzip2() {
    testkit::require!(nix, setup);
    for maker in Nix::every().unwrap() {
        for compression in ["xz", "none"] {
            let hub = Hub::start();
            let parameters = format!("?compression={compression}");
            let (path, netrc) = copy_to(&maker, &hub, "tiny-multi", &parameters);
            let cache = format!("{}/cache/demo", hub.url());
            let keys = testkit::setup::cache_public_key();
            let words = [
                "store",
                "verify",
                "--store",
                &cache,
                "--option",
                "netrc-file",
                &netrc,
            ];
            let trusting = [
                "--option",
                "trusted-public-keys",
                &keys,
                "--recursive",
                &path,
            ];
            nix(&maker, &[&words[..], &trusting].concat()).unwrap();
        }
        let hub = Hub::start();
        let netrc = sign_in(&maker, &hub, &hub.token("demo", &[]));
        let cache = format!("{}/cache/demo?compression=bzip2", hub.url());
        let path = program_path("tiny-multi");
        let copy = [
            "copy",
            "--to",
            &cache,
            "--option",
            "netrc-file",
            &netrc,
            &path,
        ];
        let error = nix(&maker, &copy).unwrap_err().to_string();
        assert!(error.contains("bzip2"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nix_without_a_good_token_gets_nothing_and_puts_nothing() {
    testkit::require!(nix, setup);
    let maker = Nix::every().unwrap().remove(0);
    // Nix remembers what it has seen of a cache: the strangers are others, who have seen nothing.
    for stranger in Nix::every().unwrap() {
        let hub = Hub::start();
        let (path, _) = copy_to(&maker, &hub, "tiny-multi", "?compression=zstd");
        let cache = format!("{}/cache/demo", hub.url());
        let error = nix(&stranger, &["path-info", "--store", &cache, &path])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("is not valid"),
            "private is as absent: {error}"
        );

        let before = hub.files();
        let other = install(&stranger, PROGRAM);
        let expired = sign_in(&stranger, &hub, &hub.token("demo", &["--expires", "0s"]));
        let foreign = sign_in(&stranger, &hub, &hub.token("other", &[]));
        for (netrc, status) in [("/dev/null", "401"), (&expired, "401"), (&foreign, "403")] {
            let copy = [
                "copy",
                "--to",
                &cache,
                "--option",
                "netrc-file",
                netrc,
                &other,
            ];
            let error = nix(&stranger, &copy).unwrap_err().to_string();
            assert!(error.contains(status), "{error}");
        }
        assert_eq!(hub.files(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_path_needs_no_signature() {
    testkit::require!(nix, setup);
    for maker in Nix::every().unwrap() {
        let hub = Hub::start();
        let (program, _) = copy_to(&maker, &hub, PROGRAM, "?compression=zstd");
        let program: StorePath = program.parse().unwrap();
        let pusher = hub.pusher("demo");
        let environment = environment_of(&program).await;
        environment.upload(&pusher, "demo").await;

        let cache = format!("{}/cache/demo", hub.url());
        let path = environment.path().to_string();
        let keys = testkit::setup::cache_public_key();
        let trusting = ["--option", "trusted-public-keys", &keys];
        let user = Nix::every().unwrap().remove(0);
        let copy = [&["copy", "--from", &cache, &path][..], &trusting].concat();
        nix(&user, &copy).unwrap_err();

        // Published in a public environment, it and its closure are for everybody.
        publish(&hub, &pusher, &environment).await;
        nix(&user, &copy).unwrap();
        let verify = ["store", "verify", "--recursive"];
        for store in [&["--store", &cache][..], &[]] {
            nix(&user, &[&verify[..], store, &[&path], &trusting].concat()).unwrap();
        }
        // With no key trusted at all, the environment alone still verifies: its path follows from its bytes.
        let alone = ["store", "verify", "--store", &cache, &path];
        nix(
            &user,
            &[&alone[..], &["--option", "trusted-public-keys", ""]].concat(),
        )
        .unwrap();
        let link = fs::read_link(user.real_path(&path).join("program")).unwrap();
        assert_eq!(link.to_str().unwrap(), program.to_string());
    }
}

/// A content-addressed path with a symlink into a package.
async fn environment_of(program: &StorePath) -> Package {
    let link = nix_data::nar::Node::Symlink(program.to_string().into_bytes());
    let tree = nix_data::nar::Node::Directory([(b"program".to_vec(), link)].into());
    let nar = tree.write_to(Vec::new()).unwrap();
    let references = BTreeSet::from([program.clone()]);
    let hash = Hash::sha256(&nar);
    let path = StorePath::source("environment", &hash, &references, false).unwrap();
    let references = references.into_iter().collect();
    let mut package = Package::of_nar(path, &nar, references, Compression::Zstd).await;
    let address: ContentAddress = format!("fixed:r:{}", hash.to_nix32()).parse().unwrap();
    package.narinfo.ca = Some(address);
    package
}

/// Publishes the environment with the closure that the hub's own narinfo files give.
async fn publish(hub: &Hub, pusher: &api::hub::HubClient, environment: &Package) {
    let mut wanted = vec![environment.path().clone()];
    let mut closure = std::collections::BTreeMap::new();
    while let Some(path) = wanted.pop() {
        let file = hub
            .objects()
            .join(format!("cache/demo/{}.narinfo", path.hash_part()));
        let narinfo = NarInfo::parse(&fs::read_to_string(file).unwrap()).unwrap();
        wanted.extend(
            narinfo
                .references
                .iter()
                .filter(|one| !closure.contains_key(*one))
                .cloned(),
        );
        let package = Package {
            narinfo,
            file: Vec::new(),
        };
        closure.insert(path, package.closure_path());
    }
    let app = name("demo/app");
    let release = crate::fixtures::Release::new("1").await;
    let mut record = release.record("demo/app", 1, None);
    let system = record.systems.values_mut().next().unwrap();
    system.environment = environment.path().clone();
    system.closure = closure.into_values().collect();
    system
        .closure
        .sort_by(|one, other| one.path.cmp(&other.path));
    system.sboms.clear();
    let body = PutEnvironment {
        visibility: Visibility::Public,
    };
    pusher.put_environment(&app, &body).await.unwrap();
    pusher.post_generation(&app, &sign(&record)).await.unwrap();
}
