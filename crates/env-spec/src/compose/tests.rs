//! Tests of composing.

use proptest::prelude::*;

use super::testing::{MemoryStore, package};
use super::*;

/// Returns the tree as sorted lines `path -> target`, with the store directory left out.
fn lines(composed: &Composed) -> Vec<String> {
    let mut lines = Vec::new();
    walk(&composed.tree, "", &mut lines);
    lines
}

fn walk(node: &Node, way: &str, lines: &mut Vec<String>) {
    match node {
        Node::Directory(entries) if entries.is_empty() => lines.push(format!("{way}/")),
        Node::Directory(entries) => {
            for (name, node) in entries {
                let name = String::from_utf8_lossy(name);
                walk(
                    node,
                    &if way.is_empty() {
                        name.into_owned()
                    } else {
                        format!("{way}/{name}")
                    },
                    lines,
                );
            }
        }
        Node::Symlink(target) => {
            let target = String::from_utf8_lossy(target).into_owned();
            let short = target
                .strip_prefix("/nix/store/")
                .map_or(target.as_str(), |rest| &rest[33..]);
            lines.push(format!("{way} -> {short}"));
        }
        Node::File { .. } => lines.push(format!("{way} FILE")),
    }
}

fn composed(store: &MemoryStore, packages: &[LockedPackage]) -> Composed {
    compose(packages, store).unwrap()
}

#[test]
fn a_folder_of_one_package_is_one_symlink_and_shared_folders_are_merged() {
    let mut store = MemoryStore::default();
    let a = store.add("a", &["bin/a", "share/doc/a/README", "lib/liba.so"]);
    let b = store.add("b", &["bin/b", "share/doc/b/README"]);
    let result = composed(&store, &[package("a", 5, &a), package("b", 5, &b)]);
    assert_eq!(
        lines(&result),
        [
            "bin/a -> a/bin/a",
            "bin/b -> b/bin/b",
            "lib -> a/lib",
            "share/doc/a -> a/share/doc/a",
            "share/doc/b -> b/share/doc/b",
        ]
    );
    assert_eq!(result.references, [a, b].into());
}

#[test]
fn the_path_is_what_nix_derives_for_that_content_and_those_references() {
    let mut store = MemoryStore::default();
    let a = store.add("a", &["bin/a"]);
    let result = composed(&store, &[package("a", 5, &a)]);
    let nar = result.tree.write_to(Vec::new()).unwrap();
    assert_eq!(result.nar_hash, Hash::sha256(&nar));
    assert_eq!(result.nar_size, nar.len() as u64);
    let derived = StorePath::source("nival-environment", &result.nar_hash, &[a].into(), false);
    assert_eq!(result.path, derived.unwrap());
}

#[test]
fn the_rules_of_composing_are_fixed() {
    let mut store = MemoryStore::default();
    let a = store.add("a", &["bin/a", "lib/a.so", "lib64 -> lib", "share/doc/a"]);
    let b = store.add("b", &["bin/b", "lib/b.so", "lib64 -> lib"]);
    let result = composed(&store, &[package("a", 5, &a), package("b", 5, &b)]);
    // Another path here means that every lock in the world would get another environment.
    assert_eq!(
        result.path.to_string(),
        "/nix/store/0np514fzcmkqqipa0y3nm0q0cj44lrbn-nival-environment"
    );
}

#[test]
fn an_environment_of_nothing_is_an_empty_folder() {
    let result = composed(&MemoryStore::default(), &[]);
    assert_eq!(result.tree, Node::Directory(BTreeMap::new()));
    assert!(result.references.is_empty());
    assert_eq!(result.closure(&BTreeMap::new()).unwrap().len(), 1);
}

#[test]
fn the_root_is_never_a_symlink_and_build_support_is_left_out() {
    let mut store = MemoryStore::default();
    let a = store.add(
        "a",
        &[
            "bin/a",
            "nix-support/setup-hook",
            "propagated-build-inputs=x",
            "share/info/dir",
            "share/info/a.info",
        ],
    );
    let b = store.add("b", &["share/info/dir", "share/info/b.info"]);
    let result = composed(&store, &[package("a", 5, &a), package("b", 5, &b)]);
    let infos = [
        "share/info/a.info -> a/share/info/a.info",
        "share/info/b.info -> b/share/info/b.info",
    ];
    assert_eq!(
        lines(&result),
        [&["bin -> a/bin"], infos.as_slice()].concat()
    );
}

#[test]
fn two_packages_with_one_file_are_a_conflict_that_priority_settles() {
    let mut store = MemoryStore::default();
    let one = store.add("one", &["bin/tool=1"]);
    let two = store.add("two", &["bin/tool=2", "bin/other"]);
    let error = compose(&[package("two", 5, &two), package("one", 5, &one)], &store).unwrap_err();
    assert_eq!(
        error.to_string(),
        "packages one (one) and two (two) both have bin/tool (priority 5); to keep that of one, \
         set two.priority = 6 under [install] in the manifest: the lower number wins"
    );
    let result = composed(&store, &[package("one", 5, &one), package("two", 4, &two)]);
    assert_eq!(
        lines(&result),
        ["bin/other -> two/bin/other", "bin/tool -> two/bin/tool"]
    );
}

#[test]
fn a_folder_against_a_file_is_a_conflict_that_priority_settles() {
    let mut store = MemoryStore::default();
    let file = store.add("file", &["etc/app"]);
    let folder = store.add("folder", &["etc/app/config"]);
    let more = store.add("more", &["etc/app/more"]);
    let error = compose(
        &[package("file", 5, &file), package("folder", 5, &folder)],
        &store,
    )
    .unwrap_err();
    assert!(
        matches!(&error, ComposeError::Kinds { place, .. } if place == "etc/app"),
        "{error}"
    );
    let result = composed(
        &store,
        &[package("file", 4, &file), package("folder", 5, &folder)],
    );
    assert_eq!(lines(&result), ["etc/app -> file/etc/app"]);
    let all = [
        package("file", 6, &file),
        package("folder", 5, &folder),
        package("more", 7, &more),
    ];
    assert_eq!(
        lines(&composed(&store, &all)),
        [
            "etc/app/config -> folder/etc/app/config",
            "etc/app/more -> more/etc/app/more"
        ]
    );
}

#[test]
fn the_same_file_by_two_ways_is_no_conflict() {
    let mut store = MemoryStore::default();
    let real = store.add("real", &["bin/tool"]);
    let link = format!("bin/tool -> {real}/bin/tool");
    let one = store.add("one", &[&link, "share/one"]);
    let two = store.add("two", &[&link, "share/two"]);
    let result = composed(&store, &[package("one", 5, &one), package("two", 5, &two)]);
    assert_eq!(lines(&result)[0], "bin/tool -> one/bin/tool");
    // One store path under two ids is one layer.
    let result = composed(&store, &[package("x", 5, &one), package("y", 5, &one)]);
    assert_eq!(lines(&result).len(), 2);
}

#[test]
fn outputs_of_one_package_do_not_conflict() {
    let mut store = MemoryStore::default();
    let out = store.add("p", &["share/x=out"]);
    let dev = store.add("p-dev", &["share/x=dev", "include/p.h"]);
    let mut both = package("p", 5, &out);
    both.outputs.insert("dev".into(), dev);
    both.outputs_to_install.push("dev".into());
    let result = composed(&store, &[both.clone()]);
    assert_eq!(
        lines(&result),
        ["include -> p-dev/include", "share/x -> p/share/x"]
    );
    both.outputs_to_install.push("man".into());
    let error = compose(&[both], &store).unwrap_err().to_string();
    assert_eq!(error, "package p has no output \"man\"; it has dev, out");
}

#[test]
fn propagated_packages_come_along_and_give_way_to_installed_ones() {
    let mut store = MemoryStore::default();
    let far = store.add("far", &["bin/tool=far", "lib/far"]);
    let near = store.add(
        "near",
        &[
            "bin/tool=near",
            "lib/near",
            &format!("nix-support/propagated-build-inputs={far}\n"),
        ],
    );
    let user = store.add("user", &["share/user"]);
    let app = store.add(
        "app",
        &[
            "bin/app",
            &format!("nix-support/propagated-build-inputs= {near} {far}  \n"),
            &format!("nix-support/propagated-user-env-packages={user}"),
        ],
    );
    let result = composed(&store, &[package("app", 5, &app)]);
    assert_eq!(
        lines(&result),
        [
            "bin/app -> app/bin/app",
            "bin/tool -> near/bin/tool",
            "lib/far -> far/lib/far",
            "lib/near -> near/lib/near",
            "share -> user/share",
        ]
    );
    let tool = store.add("tool", &["bin/tool=own"]);
    let result = composed(
        &store,
        &[package("app", 5, &app), package("tool", 900, &tool)],
    );
    assert!(lines(&result).contains(&"bin/tool -> tool/bin/tool".to_owned()));
    // Installed by name as well, the propagated one has the precedence of an installed one.
    let both = [
        package("app", 5, &app),
        package("near", 5, &near),
        package("tool", 5, &tool),
    ];
    assert!(matches!(
        compose(&both, &store),
        Err(ComposeError::Conflict { .. })
    ));
}

#[test]
fn packages_that_propagate_each_other_end() {
    let mut store = MemoryStore::default();
    let a = store.add("a", &["bin/a"]);
    // A circle cannot be made of real content addresses, so one package names itself by way of another's list.
    let b = store.add(
        "b",
        &[
            "bin/b",
            &format!("nix-support/propagated-build-inputs={a} {a} {a}"),
        ],
    );
    assert_eq!(
        lines(&composed(
            &store,
            &[package("a", 5, &a), package("b", 5, &b)]
        ))
        .len(),
        2
    );
}

#[test]
fn a_list_of_propagated_packages_with_something_else_is_refused() {
    let mut store = MemoryStore::default();
    let a = store.add("a", &["nix-support/propagated-build-inputs=/etc/passwd"]);
    let error = compose(&[package("a", 5, &a)], &store)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with(
            "-a/nix-support/propagated-build-inputs names \"/etc/passwd\", which is no store path"
        ),
        "{error}"
    );
}

#[test]
fn symlinks_to_folders_are_merged_through() {
    let mut store = MemoryStore::default();
    let real = store.add("real", &["x/one"]);
    let linked = store.add(
        "linked",
        &[
            &format!("lib -> {real}/x"),
            "usr/share/a",
            "share -> usr/share",
        ],
    );
    let other = store.add("other", &["lib/two", "share/b"]);
    let result = composed(
        &store,
        &[package("linked", 5, &linked), package("other", 5, &other)],
    );
    assert_eq!(
        lines(&result),
        [
            "lib/one -> real/x/one",
            "lib/two -> other/lib/two",
            "share/a -> linked/usr/share/a",
            "share/b -> other/share/b",
            "usr -> linked/usr",
        ]
    );
    assert!(result.references.contains(&real));
}

#[test]
fn a_link_that_all_packages_have_stays_and_leads_to_what_is_merged() {
    let mut store = MemoryStore::default();
    let a = store.add("a", &["lib/a.so", "lib64 -> lib"]);
    let b = store.add("b", &["lib/b.so", "lib64 -> lib"]);
    let result = composed(&store, &[package("a", 5, &a), package("b", 5, &b)]);
    assert_eq!(lines(&result)[2], "lib64 -> lib");
    let found = result.find("lib64/b.so", &store).unwrap();
    assert!(matches!(found, Some(Found::File(location)) if location.path == b));
}

#[test]
fn dangling_and_outside_links_are_kept_as_files() {
    let mut store = MemoryStore::default();
    let absent = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-absent/x";
    let a = store.add(
        "a",
        &[
            &format!("etc/one -> {absent}"),
            "etc/two -> /etc/passwd",
            "etc/three -> ../../../../..",
        ],
    );
    let b = store.add("b", &["etc/b", "etc/two -> /etc/passwd"]);
    let result = composed(&store, &[package("a", 5, &a), package("b", 5, &b)]);
    assert_eq!(lines(&result).len(), 4);
    assert_eq!(result.references, [a, b].into());
}

#[test]
fn links_that_lead_in_circles_end() {
    let mut store = MemoryStore::default();
    let a = store.add("a", &["x/self -> .", "loop -> loop", "x/a"]);
    let b = store.add("b", &["x/self -> ../x/.", "x/b"]);
    let error = compose(&[package("a", 5, &a), package("b", 5, &b)], &store).unwrap_err();
    assert!(matches!(error, ComposeError::TooLarge { .. }), "{error}");
}

#[test]
fn a_package_that_is_a_file_is_refused() {
    let mut store = MemoryStore::default();
    let file = store.add_tree(
        "file",
        Node::File {
            executable: true,
            contents: vec![],
        },
    );
    assert!(matches!(
        compose(&[package("f", 5, &file)], &store),
        Err(ComposeError::SingleFile { .. })
    ));
}

#[test]
fn the_closure_is_sorted_and_a_hole_in_it_is_named() {
    let mut store = MemoryStore::default();
    let c = store.add("c", &["lib/c"]);
    let a = store.add("a", &["bin/a"]);
    let result = composed(&store, &[package("a", 5, &a)]);
    let entry = |path: &StorePath, references: Vec<StorePath>| ClosurePath {
        path: path.clone(),
        nar_hash: Hash::sha256(b""),
        nar_size: 1,
        references,
    };
    let mut known = BTreeMap::from([(a.clone(), entry(&a, vec![c.clone(), a.clone()]))]);
    let error = result.closure(&known).unwrap_err();
    assert!(
        matches!(&error, ComposeError::NotInClosure { path, needed_by } if *path == c && *needed_by == a)
    );
    known.insert(c.clone(), entry(&c, vec![]));
    known.insert(store.add("unrelated", &["x"]), entry(&c, vec![]));
    let closure = result.closure(&known).unwrap();
    let mut paths: Vec<StorePath> = closure.iter().map(|one| one.path.clone()).collect();
    let found = paths.clone();
    paths.sort();
    assert_eq!(found, paths);
    assert_eq!(paths.len(), 3);
}

fn some_packages() -> impl Strategy<Value = Vec<(u32, Vec<String>)>> {
    let place = prop::sample::select(vec![
        "bin/a",
        "bin/b",
        "lib/x/y",
        "lib/x",
        "lib/z",
        "share/d/e/f",
        "share/d/g",
    ]);
    let link = prop::sample::select(vec![
        "lib/l -> x",
        "share/up -> ../lib",
        "bin/self -> .",
        "lib/q -> /etc",
    ]);
    let entry = prop_oneof![4 => place.prop_map(str::to_owned), 1 => link.prop_map(str::to_owned)];
    let package = (0u32..8, prop::collection::vec(entry, 0..5));
    prop::collection::vec(package, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn composing_depends_on_no_order_and_holds_what_wins(packages in some_packages(), turn in 0usize..6) {
        let mut store = MemoryStore::default();
        let mut list = Vec::new();
        for (index, (priority, entries)) in packages.iter().enumerate() {
            let mut kept: Vec<&str> = Vec::new();
            for entry in entries {
                let place = entry.split(" -> ").next().unwrap();
                let clashes = |other: &&str| {
                    let other = other.split(" -> ").next().unwrap();
                    place == other || place.starts_with(&format!("{other}/")) || other.starts_with(&format!("{place}/"))
                };
                if !kept.iter().any(clashes) {
                    kept.push(entry);
                }
            }
            let unique = format!("own/{index}");
            kept.push(&unique);
            list.push(package(&format!("p{index}"), *priority, &store.add(&format!("p{index}"), &kept)));
        }
        let first = compose(&list, &store);
        if !list.is_empty() {
            let middle = turn % list.len();
            list.rotate_left(middle);
        }
        let second = compose(&list, &store);
        match (first, second) {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(&one, &other);
                for index in 0..list.len() {
                    let own = one.find(&format!("own/{index}"), &store).unwrap();
                    prop_assert!(matches!(own, Some(Found::File(_))));
                }
            }
            (Err(one), Err(other)) => prop_assert_eq!(one.to_string(), other.to_string()),
            (one, other) => prop_assert!(false, "{:?} {:?}", one, other),
        }
    }
}
