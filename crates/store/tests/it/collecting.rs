//! The collector: what a root keeps stays, all else goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use env_spec::generation::ClosurePath;
use fs_err as fs;
use host::mount::{Mounts, Recording};
use nix_data::Compression;
use store::{BindTree, ClosureId, CollectPlan, Collected, Key, Presentation, collect};

use crate::caches::{Cache, TestStore};

struct Scene {
    store: TestStore,
    tree: BindTree,
    shared: ClosurePath,
    first: Vec<ClosurePath>,
    second: Vec<ClosurePath>,
}

impl Scene {
    async fn new() -> Self {
        let cache = Cache::new();
        let add = |name: &str| cache.add_noise(name, 10_000, Compression::Zstd);
        let shared = add("shared");
        let (first, second) = (
            vec![shared.clone(), add("one")],
            vec![shared.clone(), add("two")],
        );
        let store = TestStore::new();
        let tree = BindTree::recover(
            &store.store,
            Arc::new(Recording::default()) as Arc<dyn Mounts>,
        )
        .unwrap();
        for closure in [&first, &second] {
            store.realise(closure, &[&cache.address()]).await.unwrap();
            tree.present(&store.store, closure).unwrap();
        }
        Self {
            store,
            tree,
            shared,
            first,
            second,
        }
    }

    fn collect(&self, roots: &[&[ClosurePath]], dry_run: bool) -> Collected {
        let roots: BTreeSet<_> = roots.iter().map(|closure| ClosureId::of(closure)).collect();
        let plan = CollectPlan {
            roots,
            enough: u64::MAX,
            dry_run,
        };
        collect(&self.store.store.begin_collecting(), &self.tree, &plan).unwrap()
    }

    fn has(&self, path: &ClosurePath) -> bool {
        let key = Key::of(path);
        let present = self.store.store.is_present(&key);
        assert_eq!(present, self.store.store.place_of(&key).exists());
        present
    }
}

#[tokio::test]
async fn what_a_root_needs_stays_and_the_rest_goes() {
    let scene = Scene::new().await;
    let nothing = scene.collect(&[&scene.first, &scene.second], false);
    assert_eq!(nothing, Collected::default());
    let would = scene.collect(&[&scene.second], true);
    assert!(scene.has(&scene.first[1]), "a dry run removes nothing");
    let done = scene.collect(&[&scene.second], false);
    assert_eq!((would, done.closures, done.paths), (done, 1, 1));
    assert_eq!(done.bytes, scene.first[1].nar_size);
    assert!(scene.has(&scene.shared) && scene.has(&scene.second[1]) && !scene.has(&scene.first[1]));
    let presented = |closure: &[ClosurePath]| {
        scene
            .tree
            .presented(&scene.store.store, ClosureId::of(closure))
            .unwrap()
    };
    assert!(presented(&scene.second).is_some() && presented(&scene.first).is_none());
    scene.store.assert_sound();
    let all = scene.collect(&[], false);
    assert_eq!(all.paths, 2);
    assert_eq!(
        fs::read_dir(scene.store.store.root().join("paths"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(
        fs::read_dir(scene.store.store.root().join("closures"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn what_is_being_made_ready_stays() {
    let scene = Scene::new().await;
    let protection = scene.store.store.protect(&scene.first);
    scene.collect(&[], false);
    assert!(scene.has(&scene.first[1]) && !scene.has(&scene.second[1]));
    drop(protection);
    scene.collect(&[], false);
    assert!(!scene.has(&scene.first[1]));
}

#[tokio::test]
async fn it_stops_when_enough_is_free_and_takes_the_longest_unused_first() {
    let scene = Scene::new().await;
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000);
    let record = scene
        .store
        .store
        .root()
        .join("closures")
        .join(ClosureId::of(&scene.second).to_string())
        .join("closure.json");
    fs::File::open(record)
        .unwrap()
        .file()
        .set_modified(old)
        .unwrap();
    let plan = CollectPlan {
        roots: BTreeSet::new(),
        enough: 1,
        dry_run: false,
    };
    collect(&scene.store.store.begin_collecting(), &scene.tree, &plan).unwrap();
    assert!(scene.has(&scene.first[1]) && !scene.has(&scene.second[1]));
}

#[tokio::test]
async fn a_damaged_record_of_a_root_stops_the_collector() {
    let scene = Scene::new().await;
    let id = ClosureId::of(&scene.first);
    let record = scene
        .store
        .store
        .root()
        .join("closures")
        .join(id.to_string())
        .join("closure.json");
    let plan = CollectPlan {
        roots: BTreeSet::from([id]),
        enough: u64::MAX,
        dry_run: false,
    };
    fs::write(&record, "{").unwrap();
    assert!(collect(&scene.store.store.begin_collecting(), &scene.tree, &plan).is_err());
    fs::remove_file(&record).unwrap();
    assert!(collect(&scene.store.store.begin_collecting(), &scene.tree, &plan).is_err());
    assert!(scene.has(&scene.first[1]) && scene.has(&scene.second[1]));
}

#[tokio::test]
async fn what_is_protected_while_a_collection_goes_on_stays_until_it_ends() {
    let scene = Scene::new().await;
    let store = &scene.store.store;
    // A start begins after the roots were read and has its lease before the collector comes to its closure.
    let collecting = store.begin_collecting();
    drop(store.protect(&scene.first));
    let plan = CollectPlan {
        roots: BTreeSet::new(),
        enough: u64::MAX,
        dry_run: false,
    };
    collect(&collecting, &scene.tree, &plan).unwrap();
    assert!(scene.first.iter().all(|path| scene.has(path)));
    drop(collecting);
    scene.collect(&[], false);
    assert!(!scene.first.iter().any(|path| scene.has(path)));
}
