//! Disks that fill up: on a file system of two megabytes.

use std::collections::BTreeMap;

use env_spec::generation::ClosurePath;
use fs_err as fs;
use nix_data::Compression;
use nix_data::nar::Node;
use store::{FetchError, Store};

use crate::caches::{Cache, TestStore, file};

/// Runs a test with its store on a tiny file system, on one thread with mounts of its own.
fn on_a_tiny_disk(test: impl AsyncFnOnce(TestStore)) {
    crate::presenting::own_mounts();
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("store");
    fs::create_dir(&disk).unwrap();
    rustix::mount::mount(
        "none",
        &disk,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        c"size=2m",
    )
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = TestStore {
            store: Store::open(&disk).unwrap(),
            folder,
        };
        test(store).await;
    });
    rustix::mount::unmount(&disk, rustix::mount::UnmountFlags::DETACH).unwrap();
}

fn assert_full(error: &FetchError, store: &TestStore, what: &str) {
    let FetchError::DiskFull {
        filesystem,
        available,
        needed,
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(filesystem, store.store.root());
    assert!(*available <= 2 << 20 && *needed > 0);
    let text = error.to_string();
    assert!(
        text.contains(what) && text.contains(&store.store.root().display().to_string()),
        "{text}"
    );
    store.assert_sound();
    assert_eq!(store.store.totals(), (0, 0));
    assert_eq!(
        fs::read_dir(store.store.root().join("paths"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn what_cannot_fit_is_refused_before_it_is_downloaded() {
    testkit::require!(root);
    on_a_tiny_disk(async |store| {
        let cache = Cache::new();
        let closure: Vec<ClosurePath> = (0..3)
            .map(|number| cache.add_noise(&format!("noise{number}"), 1 << 20, Compression::Zstd))
            .collect();
        let error = store
            .realise(&closure, &["/nonexistent"])
            .await
            .unwrap_err();
        assert_full(
            &error,
            &store,
            "3 store paths, the largest of them /nix/store/",
        );
    });
}

#[test]
fn a_disk_that_fills_up_while_unpacking_is_named_and_nothing_stays() {
    testkit::require!(root);
    on_a_tiny_disk(async |store| {
        let cache = Cache::new();
        // Small as a NAR, but each file takes a page.
        let files = (0..2000).map(|number| (format!("file{number}").into_bytes(), file(b"x")));
        let path = cache.add(
            "many",
            &Node::Directory(files.collect::<BTreeMap<_, _>>()),
            Compression::Zstd,
        );
        let error = store
            .realise(std::slice::from_ref(&path), &[&cache.address()])
            .await
            .unwrap_err();
        assert_full(&error, &store, &path.path.to_string());
        // With room, the same store takes it.
        let small = cache.add("small", &file(b"small"), Compression::Zstd);
        store.realise(&[small], &[&cache.address()]).await.unwrap();
    });
}
