//! Fetching from folders: real closures, every compression, and what is wrong with a source.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;

use fs_err as fs;
use nix_data::Compression;
use store::{Key, pack};

use crate::caches::{Cache, TestStore, closure_in, file, folder_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_real_closure_is_fetched_bit_for_bit_and_only_once() {
    testkit::require!(setup);
    let cache = testkit::setup::cache_dir();
    let closure = closure_in(&cache, "numpy-");
    assert!(closure.len() > 20, "{}", closure.len());
    let address = format!("file://{}", cache.display());
    let store = TestStore::new();
    let outcome = store.realise(&closure, &[&address]).await.unwrap();
    assert_eq!(outcome.paths_fetched, closure.len() as u64);
    assert_eq!(
        outcome.nar_bytes,
        closure.iter().map(|one| one.nar_size).sum::<u64>()
    );
    for path in &closure {
        let place = store.store.place_of(&Key::of(path));
        let (hash, size) = pack::nar_hash_and_size(&place).unwrap();
        assert_eq!(
            (hash, size),
            (path.nar_hash.clone(), path.nar_size),
            "{}",
            path.path
        );
        let metadata = fs::symlink_metadata(&place).unwrap();
        assert_eq!(metadata.mtime(), 1);
        assert_eq!(metadata.permissions().mode() & 0o7222, 0, "{}", path.path);
    }
    store.assert_sound();
    // Until it is on the disk for good, somebody still holds the store.
    store.settled(&closure).await;

    let store = store.reopened();
    let again = store
        .realise(&closure, &["file:///nonexistent"])
        .await
        .unwrap();
    assert_eq!(again.paths_fetched, 0, "what is present needs no source");
}

#[tokio::test(flavor = "multi_thread")]
async fn xz_caches_of_the_real_nix_are_read() {
    testkit::require!(setup);
    let cache = testkit::setup::dir().join("packages/cache-xz");
    let closure = closure_in(&cache, "");
    let store = TestStore::new();
    store
        .realise(&closure, &[cache.to_str().unwrap()])
        .await
        .unwrap();
    assert!(store.store.has_closure(&closure));
}

#[tokio::test]
async fn every_compression_gives_the_same_files() {
    for compression in [Compression::None, Compression::Xz, Compression::Zstd] {
        let cache = Cache::new();
        let path = cache.add_noise("noise", 300_000, compression);
        let store = TestStore::new();
        store
            .realise(std::slice::from_ref(&path), &[&cache.address()])
            .await
            .unwrap();
        let place = store.store.place_of(&Key::of(&path));
        assert_eq!(
            pack::nar_hash_and_size(&place).unwrap().0,
            path.nar_hash,
            "{compression:?}"
        );
    }
}

#[tokio::test]
async fn one_flipped_bit_is_refused_with_both_hashes_and_the_source_and_leaves_nothing() {
    let cache = Cache::new();
    let path = cache.add_noise("noise", 100_000, Compression::None);
    let nar = cache.nar_of(&path.path);
    let mut bytes = fs::read(&nar).unwrap();
    bytes[50_000] ^= 1;
    fs::write(&nar, bytes).unwrap();
    let store = TestStore::new();
    let error = store
        .realise(std::slice::from_ref(&path), &[&cache.address()])
        .await
        .unwrap_err();
    let fault = error.source_error().unwrap().to_string();
    assert!(
        fault.starts_with(&format!(
            "corrupt NAR of {}: expected {} (",
            path.path, path.nar_hash
        )),
        "{fault}"
    );
    assert!(
        fault.ends_with(&format!("from {}", cache.address())),
        "{fault}"
    );
    assert!(!store.store.is_present(&Key::of(&path)));
    store.assert_sound();
}

#[tokio::test]
async fn a_flipped_bit_in_compressed_data_is_corrupt_too() {
    for compression in [Compression::Xz, Compression::Zstd] {
        let cache = Cache::new();
        let path = cache.add("text", &file(&b"some text ".repeat(20_000)), compression);
        let nar = cache.nar_of(&path.path);
        for position in 0..fs::metadata(&nar).unwrap().len().min(400) as usize / 8 {
            let position = position * 8 + position % 8;
            let good = fs::read(&nar).unwrap();
            let mut bytes = good.clone();
            bytes[position] ^= 0x10;
            fs::write(&nar, bytes).unwrap();
            let store = TestStore::new();
            let error = store
                .realise(std::slice::from_ref(&path), &[&cache.address()])
                .await
                .unwrap_err();
            assert!(
                error.source_error().unwrap().is_corrupt(),
                "{compression:?} {position}: {error:?}"
            );
            fs::write(&nar, good).unwrap();
        }
    }
}

#[tokio::test]
async fn a_corrupt_source_is_passed_over_for_the_next_one() {
    let (bad, good) = (Cache::new(), Cache::new());
    let path = bad.add_noise("noise", 100_000, Compression::Zstd);
    good.add_noise("noise", 100_000, Compression::Zstd);
    let nar = bad.nar_of(&path.path);
    let mut bytes = fs::read(&nar).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&nar, bytes).unwrap();
    let store = TestStore::new();
    store
        .realise(
            std::slice::from_ref(&path),
            &[&bad.address(), &good.address()],
        )
        .await
        .unwrap();
    assert!(store.store.is_present(&Key::of(&path)));
    store.assert_sound();
}

#[tokio::test]
async fn a_narinfo_for_another_path_is_refused() {
    let cache = Cache::new();
    let one = cache.add("one", &file(b"one"), Compression::None);
    let other = cache.add("other", &file(b"other"), Compression::None);
    fs::copy(cache.narinfo_of(&other.path), cache.narinfo_of(&one.path)).unwrap();
    let store = TestStore::new();
    let error = store
        .realise(std::slice::from_ref(&one), &[&cache.address()])
        .await
        .unwrap_err();
    let fault = error.source_error().unwrap().to_string();
    assert!(
        fault.contains(&format!("asked for {}, got {}", one.path, other.path)),
        "{fault}"
    );
}

#[tokio::test]
async fn another_build_of_the_same_path_is_told_apart_and_both_can_be_present() {
    let (one, other) = (Cache::new(), Cache::new());
    let first = one.add(
        "package",
        &folder_with("file", b"built here"),
        Compression::Zstd,
    );
    let second = other.add(
        "package2",
        &folder_with("file", b"built there"),
        Compression::Zstd,
    );
    // The same store path with the other cache's bytes.
    let mut info =
        nix_data::NarInfo::parse(&fs::read_to_string(other.narinfo_of(&second.path)).unwrap())
            .unwrap();
    info.store_path = first.path.clone();
    fs::write(other.narinfo_of(&first.path), info.to_string()).unwrap();
    let mut rebuilt = second.clone();
    rebuilt.path = first.path.clone();

    let store = TestStore::new();
    let error = store
        .realise(std::slice::from_ref(&rebuilt), &[&one.address()])
        .await
        .unwrap_err();
    assert!(
        error
            .source_error()
            .unwrap()
            .to_string()
            .contains("has another build of"),
        "{error:?}"
    );
    store
        .realise(&[rebuilt.clone()], &[&one.address(), &other.address()])
        .await
        .unwrap();
    store
        .realise(
            std::slice::from_ref(&first),
            &[&other.address(), &one.address()],
        )
        .await
        .unwrap();
    let text =
        |path| fs::read_to_string(store.store.place_of(&Key::of(path)).join("file")).unwrap();
    assert_eq!(
        (text(&first), text(&rebuilt)),
        ("built here".to_owned(), "built there".to_owned())
    );
}

#[tokio::test]
async fn what_no_source_has_is_named_with_the_sources() {
    let cache = Cache::new();
    let path = cache.add("gone", &file(b"x"), Compression::None);
    fs::remove_file(cache.narinfo_of(&path.path)).unwrap();
    let store = TestStore::new();
    let error = store
        .realise(std::slice::from_ref(&path), &[&cache.address()])
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("cannot fetch {}", path.path));
    let fault = error.source_error().unwrap().to_string();
    assert_eq!(
        fault,
        format!("{} does not have {}", cache.address(), path.path)
    );
    let error = store
        .realise(std::slice::from_ref(&path), &[])
        .await
        .unwrap_err();
    assert!(
        error.to_string().ends_with("no binary cache is configured"),
        "{error}"
    );
}

#[tokio::test]
async fn bzip2_is_refused_by_name() {
    let cache = Cache::new();
    let path = cache.add("old", &file(b"x"), Compression::None);
    let narinfo = cache.narinfo_of(&path.path);
    let text = fs::read_to_string(&narinfo)
        .unwrap()
        .replace("Compression: none", "Compression: bzip2");
    fs::write(&narinfo, text).unwrap();
    let error = TestStore::new()
        .realise(&[path], &[&cache.address()])
        .await
        .unwrap_err();
    assert!(
        error
            .source_error()
            .unwrap()
            .to_string()
            .contains("bzip2, which is not supported"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_for_the_same_paths_fetch_them_once() {
    let cache = Cache::new();
    let closure: Vec<_> = (0..8)
        .map(|number| cache.add_noise(&format!("noise{number}"), 50_000, Compression::Zstd))
        .collect();
    let store = TestStore::new();
    let callers = (0..100).map(|_| {
        let (store, closure, address) = (store.store.clone(), closure.clone(), cache.address());
        tokio::spawn(async move {
            let sources = crate::caches::sources(&[&address]);
            store::realise(&store, &closure, &sources, &Default::default())
                .await
                .unwrap()
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut fetched = 0;
    for caller in callers {
        fetched += caller.await.unwrap().paths_fetched;
    }
    assert_eq!(fetched, 8);
    store.assert_sound();
}

#[tokio::test]
async fn a_path_without_a_record_is_fetched_again_after_a_restart() {
    let cache = Cache::new();
    let path = cache.add("package", &folder_with("file", b"text"), Compression::Zstd);
    let store = TestStore::new();
    store
        .realise(std::slice::from_ref(&path), &[&cache.address()])
        .await
        .unwrap();
    let place = store.store.place_of(&Key::of(&path));
    store.settled(std::slice::from_ref(&path)).await;
    // As a kill between name and record leaves it, and with a file of an unfinished fetch.
    fs::remove_file(place.with_extension("json")).unwrap();
    fs::write(store.store.root().join("tmp/half"), "x").unwrap();
    let store = store.reopened();
    assert!(!store.store.is_present(&Key::of(&path)));
    assert!(!place.exists());
    store.assert_sound();
    store
        .realise(std::slice::from_ref(&path), &[&cache.address()])
        .await
        .unwrap();
    assert!(place.join("file").exists());
}

#[tokio::test]
async fn a_store_is_used_by_one_process_at_a_time() {
    let store = TestStore::new();
    let root = store.store.root().to_owned();
    let second = tokio::task::spawn_blocking(move || store::Store::open(&root))
        .await
        .unwrap();
    assert!(
        second
            .unwrap_err()
            .to_string()
            .starts_with("the store is in use by another process")
    );
}

#[tokio::test]
async fn what_was_not_on_the_disk_before_a_power_cut_is_fetched_again_and_all_else_is_not() {
    let cache = Cache::new();
    let paths: Vec<_> = ["settled", "unsettled", "killed"]
        .iter()
        .map(|name| {
            cache.add(
                name,
                &folder_with("file", name.as_bytes()),
                Compression::Zstd,
            )
        })
        .collect();
    let store = TestStore::new();
    store.realise(&paths, &[&cache.address()]).await.unwrap();
    store.settled(&paths).await;
    // As a machine that went down in between, and a process that was killed, leave them.
    let this_boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for (path, boot) in [(&paths[1], "another boot"), (&paths[2], this_boot.trim())] {
        let record = store.record_of(path);
        let mut text: serde_json::Value =
            serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        text["boot"] = boot.into();
        fs::write(record, text.to_string()).unwrap();
    }
    let store = store.reopened();
    let present: Vec<_> = paths
        .iter()
        .map(|path| store.store.is_present(&Key::of(path)))
        .collect();
    assert_eq!(present, [true, false, true]);
    assert!(!store.store.place_of(&Key::of(&paths[1])).exists());
    store.store.settle();
    store.settled(&paths[2..]).await;
    assert_eq!(
        store
            .realise(&paths, &[&cache.address()])
            .await
            .unwrap()
            .paths_fetched,
        1
    );
}
