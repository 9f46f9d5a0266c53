//! Closures as folders. What mounts for real needs root, and happens in a mount namespace that the test's thread has of its own.

use std::sync::Arc;

use env_spec::generation::ClosurePath;
use fs_err as fs;
use host::mount::{Linux, Mounts, Operation, Recording};
use nix_data::Compression;
use nix_data::nar::Node;
use store::{BindTree, ClosureId, PresentError, Presentation};

use crate::caches::{Cache, TestStore, file, folder_with};

/// Gives the calling thread a mount namespace of its own, in which nothing is shared.
pub(crate) fn own_mounts() {
    #[expect(
        unsafe_code,
        reason = "rustix marks every unsharing so, because of file descriptors"
    )]
    // SAFETY: only the mount namespace is unshared; file descriptors stay as they are.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
    )
    .unwrap();
}

async fn closure_of_all_kinds(store: &TestStore) -> Vec<ClosurePath> {
    let cache = Cache::new();
    let mut closure = vec![
        cache.add("folder", &folder_with("file", b"text"), Compression::Zstd),
        cache.add("file", &file(b"a single file"), Compression::Zstd),
        cache.add(
            "link",
            &Node::Symlink(b"/nix/store/somewhere".to_vec()),
            Compression::Zstd,
        ),
    ];
    closure.sort_by(|one, other| one.path.cmp(&other.path));
    store.realise(&closure, &[&cache.address()]).await.unwrap();
    closure
}

#[tokio::test]
async fn the_tree_is_protected_before_it_gets_its_final_place() {
    let store = TestStore::new();
    let closure = closure_of_all_kinds(&store).await;
    let mounts = Arc::new(Recording::default());
    let tree = BindTree::recover(&store.store, Arc::clone(&mounts) as Arc<dyn Mounts>).unwrap();
    let place = tree.present(&store.store, &closure).unwrap();
    let operations = mounts.operations();
    let position =
        |wanted: &dyn Fn(&Operation) -> bool| operations.iter().position(wanted).unwrap();
    let private = position(&|one| matches!(one, Operation::MakePrivate(_)));
    let first_path = position(
        &|one| matches!(one, Operation::Bind(from, _) if from.starts_with(store.store.root().join("paths"))),
    );
    let protect = position(&|one| matches!(one, Operation::Protect(_)));
    let copy = position(&|one| matches!(one, Operation::CopyTree(_, to) if *to == place));
    assert!(
        private < first_path && first_path < protect && protect < copy,
        "{operations:?}"
    );
    let binds = operations
        .iter()
        .filter(|one| matches!(one, Operation::Bind(..)))
        .count();
    assert_eq!(binds, 3, "the tree itself, the folder and the file");

    assert_eq!(tree.present(&store.store, &closure).unwrap(), place);
    assert_eq!(
        mounts.operations().len(),
        operations.len(),
        "presenting again does nothing"
    );
}

#[tokio::test]
async fn a_missing_path_is_named_and_nothing_is_mounted() {
    let store = TestStore::new();
    let mut closure = closure_of_all_kinds(&store).await;
    let absent = Cache::new().add("absent", &file(b"absent"), Compression::None);
    closure.push(absent.clone());
    let mounts = Arc::new(Recording::default());
    let tree = BindTree::recover(&store.store, Arc::clone(&mounts) as Arc<dyn Mounts>).unwrap();
    let error = tree.present(&store.store, &closure).unwrap_err();
    assert!(
        matches!(error, PresentError::Missing { ref path } if *path == absent.path),
        "{error}"
    );
    assert_eq!(mounts.operations(), []);
}

/// Runs the whole test on one thread: its mounts are of that thread.
fn privileged(test: impl Future<Output = ()>) {
    own_mounts();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn even_root_cannot_write_to_a_presented_closure() {
    testkit::require!(root);
    privileged(async {
        let store = TestStore::new();
        let closure = closure_of_all_kinds(&store).await;
        let tree = BindTree::recover(&store.store, Arc::new(Linux)).unwrap();
        let place = tree.present(&store.store, &closure).unwrap();
        let mut names: Vec<_> = fs::read_dir(&place)
            .unwrap()
            .map(|one| one.unwrap().file_name())
            .collect();
        names.sort();
        let wanted: Vec<_> = closure
            .iter()
            .map(|one| one.path.base_name().to_owned().into())
            .collect::<Vec<std::ffi::OsString>>();
        assert_eq!(names, wanted);
        let of = |name: &str| {
            place.join(
                closure
                    .iter()
                    .find(|one| one.path.name() == name)
                    .unwrap()
                    .path
                    .base_name(),
            )
        };
        assert_eq!(
            fs::read_to_string(of("folder").join("file")).unwrap(),
            "text"
        );
        assert_eq!(fs::read_to_string(of("file")).unwrap(), "a single file");
        assert_eq!(
            fs::read_link(of("link")).unwrap().to_str(),
            Some("/nix/store/somewhere")
        );
        for victim in [
            of("folder").join("file"),
            of("folder").join("new"),
            of("file"),
            place.join("new"),
        ] {
            let error = fs::OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&victim)
                .unwrap_err();
            assert_eq!(
                error.kind(),
                std::io::ErrorKind::ReadOnlyFilesystem,
                "{}",
                victim.display()
            );
        }
        let table = Linux.list().unwrap();
        let below: Vec<_> = table
            .iter()
            .filter(|mount| mount.path.starts_with(&place))
            .collect();
        assert_eq!(below.len(), 3);
        for mount in below {
            for option in ["ro", "nosuid", "nodev"] {
                assert!(
                    mount.options.iter().any(|one| one == option),
                    "{option} {mount:?}"
                );
            }
            assert!(!mount.shared, "{mount:?}");
        }
        assert!(
            !table
                .iter()
                .any(|mount| mount.path.to_string_lossy().contains("staging-")),
            "no staging place is left"
        );
        tree.withdraw(&store.store, ClosureId::of(&closure))
            .unwrap();
        assert!(!place.exists());
    });
}

#[test]
fn a_new_process_takes_over_what_is_presented_and_clears_half_built_trees() {
    testkit::require!(root);
    privileged(async {
        let store = TestStore::new();
        let closure = closure_of_all_kinds(&store).await;
        let id = ClosureId::of(&closure);
        let tree = BindTree::recover(&store.store, Arc::new(Linux)).unwrap();
        let place = tree.present(&store.store, &closure).unwrap();
        // As a kill in the middle of building leaves it: writable binds of the store's own folders.
        let staging = store.store.root().join(format!("mounts/staging-{id}"));
        fs::create_dir(&staging).unwrap();
        Linux
            .bind(&store.store.root().join("paths"), &staging)
            .unwrap();
        drop(tree);
        store.settled(&closure).await;

        let store = store.reopened();
        let tree = BindTree::recover(&store.store, Arc::new(Linux)).unwrap();
        assert!(!staging.exists());
        assert!(
            store.store.has_closure(&closure),
            "nothing of the store was lost"
        );
        assert_eq!(
            tree.presented(&store.store, id).unwrap(),
            Some(place.clone())
        );
        let before = Linux.list().unwrap().len();
        assert_eq!(tree.present(&store.store, &closure).unwrap(), place);
        assert_eq!(
            Linux.list().unwrap().len(),
            before,
            "nothing is mounted twice"
        );
        tree.withdraw(&store.store, id).unwrap();
    });
}

#[test]
fn after_a_reboot_the_closure_is_presented_anew() {
    testkit::require!(root);
    privileged(async {
        let store = TestStore::new();
        let closure = closure_of_all_kinds(&store).await;
        let id = ClosureId::of(&closure);
        let tree = BindTree::recover(&store.store, Arc::new(Linux)).unwrap();
        let place = tree.present(&store.store, &closure).unwrap();
        Linux.detach(&place).unwrap();
        assert_eq!(tree.presented(&store.store, id).unwrap(), None);
        assert_eq!(tree.present(&store.store, &closure).unwrap(), place);
        assert!(fs::read_dir(&place).unwrap().count() == 3);
        tree.withdraw(&store.store, id).unwrap();
    });
}

#[test]
fn where_mounts_are_shared_other_namespaces_see_protected_trees_come_and_go() {
    testkit::require!(root);
    privileged(async {
        // As an agent in a container with bidirectional mounts has its state, and the node beside it.
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("store");
        fs::create_dir(&disk).unwrap();
        let none = rustix::mount::MountFlags::empty();
        rustix::mount::mount("none", &disk, "tmpfs", none, c"size=16m").unwrap();
        let shared = rustix::mount::MountPropagationFlags::SHARED;
        rustix::mount::mount_change(&disk, shared).unwrap();
        let other = Other::start();

        let store = TestStore {
            store: store::Store::open(&disk).unwrap(),
            folder,
        };
        let closure = closure_of_all_kinds(&store).await;
        let tree = BindTree::recover(&store.store, Arc::new(Linux)).unwrap();
        let place = tree.present(&store.store, &closure).unwrap();
        let table = other.table();
        let seen: Vec<_> = table
            .iter()
            .filter(|one| one.path.starts_with(&place))
            .collect();
        assert_eq!(seen.len(), 3, "{table:?}");
        assert!(
            seen.iter()
                .all(|one| one.options.iter().any(|option| option == "ro"))
        );
        let staging =
            |one: &host::mount::MountPoint| one.path.to_string_lossy().contains("staging-");
        assert!(!table.iter().any(staging), "{table:?}");

        tree.withdraw(&store.store, ClosureId::of(&closure))
            .unwrap();
        let table = other.table();
        assert!(
            !table.iter().any(|one| one.path.starts_with(&place)),
            "{table:?}"
        );
    });
}

/// Another mount namespace that shares with this one what is shared.
struct Other(std::process::Child);

impl Other {
    fn start() -> Self {
        use std::io::BufRead as _;
        let mut command = std::process::Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "unchanged",
            "sh",
            "-c",
            "echo; exec sleep 600",
        ]);
        let mut child = command
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.as_mut().unwrap();
        std::io::BufReader::new(output)
            .read_line(&mut String::new())
            .unwrap();
        Self(child)
    }

    fn table(&self) -> Vec<host::mount::MountPoint> {
        host::mount::parse_table(&fs::read(format!("/proc/{}/mountinfo", self.0.id())).unwrap())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may be dead already; then there is nothing to end.
        self.0.kill().and_then(|()| self.0.wait()).ok();
    }
}
