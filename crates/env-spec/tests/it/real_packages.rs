//! Composing from real packages, as a real Nix built them and put them into a cache, judged by a real Nix.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use env_spec::activation::ActivationPlan;
use env_spec::compose::{ComposeError, Composed, Contents, ContentsFailure, Found, compose};
use env_spec::generation::ClosurePath;
use env_spec::lockfile::LockedPackage;
use env_spec::manifest::Manifest;
use fs_err as fs;
use nix_data::nar::{Listing, Node};
use nix_data::{Compression, NarInfo, StorePath};
use testkit::nix::Nix;

/// The packages of set-up, by store path.
struct Cache(BTreeMap<StorePath, NarInfo>);

impl Cache {
    fn open() -> Self {
        let mut infos = BTreeMap::new();
        for entry in fs::read_dir(testkit::setup::cache_dir()).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "narinfo")
            {
                let info = NarInfo::parse(&fs::read_to_string(&path).unwrap()).unwrap();
                infos.insert(info.store_path.clone(), info);
            }
        }
        Self(infos)
    }

    /// Returns a package by its name without version; several builds of one name are told apart by their order.
    fn package(&self, name: &str) -> LockedPackage {
        let is_it = |path: &&StorePath| {
            let rest = path
                .name()
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('-'));
            rest.is_some_and(|version| version.starts_with(|one: char| one.is_ascii_digit()))
        };
        let path = self
            .0
            .keys()
            .find(is_it)
            .unwrap_or_else(|| panic!("the cache has no {name}"));
        LockedPackage {
            install_id: name.into(),
            attr_path: name.into(),
            group: "toplevel".into(),
            pname: name.into(),
            version: "1".into(),
            priority: 5,
            derivation: None,
            outputs: BTreeMap::from([("out".into(), path.clone())]),
            outputs_to_install: vec!["out".into()],
            licenses: Vec::new(),
            free: true,
            description: None,
            homepage: None,
            cpe: None,
            purl: None,
        }
    }

    fn packages(&self, names: &[&str]) -> Vec<LockedPackage> {
        names.iter().map(|name| self.package(name)).collect()
    }

    fn known(&self) -> BTreeMap<StorePath, ClosurePath> {
        let known = |info: &NarInfo| ClosurePath {
            path: info.store_path.clone(),
            nar_hash: info.nar_hash.clone(),
            nar_size: info.nar_size,
            references: info.references.clone(),
        };
        self.0
            .iter()
            .map(|(path, info)| (path.clone(), known(info)))
            .collect()
    }
}

impl Contents for Cache {
    fn listing(&self, path: &StorePath) -> Result<Arc<Listing>, ContentsFailure> {
        let file = testkit::setup::cache_dir().join(format!("{}.ls", path.hash_part()));
        Ok(Arc::new(Listing::from_json(&fs::read(file)?)?))
    }

    fn file(&self, path: &StorePath, relative: &str) -> Result<Vec<u8>, ContentsFailure> {
        let info = self.0.get(path).ok_or("not in the cache")?;
        assert_eq!(info.compression, Compression::Zstd);
        let packed = fs::File::open(testkit::setup::cache_dir().join(&info.url))?;
        let mut node = &Node::read_from(zstd::Decoder::new(packed)?, 1 << 30)?;
        for name in relative.split('/') {
            let Node::Directory(entries) = node else {
                return Err("not a folder".into());
            };
            node = entries.get(name.as_bytes()).ok_or("not there")?;
        }
        match node {
            Node::File { contents, .. } => Ok(contents.clone()),
            _ => Err("not a file".into()),
        }
    }

    fn contains(&self, path: &StorePath) -> bool {
        self.0.contains_key(path)
    }
}

/// Puts an environment beside what it refers to into a cache of its own, as a hub does.
fn publish(cache: &Cache, composed: &Composed, address: &str, folder: &Path) {
    fs::create_dir_all(folder.join("nar")).unwrap();
    fs::copy(
        testkit::setup::cache_dir().join("nix-cache-info"),
        folder.join("nix-cache-info"),
    )
    .unwrap();
    for one in composed.closure(&cache.known()).unwrap() {
        let file = format!("{}.narinfo", one.path.hash_part());
        let (from, to) = (testkit::setup::cache_dir().join(&file), folder.join(&file));
        if one.path != composed.path {
            fs::copy(from, to).unwrap();
            continue;
        }
        let references: Vec<&str> = one.references.iter().map(StorePath::base_name).collect();
        let text = format!(
            "StorePath: {}\nURL: nar/environment.nar\nCompression: none\nNarHash: {}\nNarSize: {}\nReferences: {}\nCA: fixed:r:{address}\n",
            one.path,
            one.nar_hash.to_nix32(),
            one.nar_size,
            references.join(" "),
        );
        fs::File::create(to)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .unwrap();
    }
    let nar = fs::File::create(folder.join("nar/environment.nar")).unwrap();
    composed.tree.write_to(nar).unwrap();
}

#[test]
fn a_stock_nix_takes_the_environment_for_what_its_path_says() {
    testkit::require!(setup);
    let cache = Cache::open();
    let composed = compose(&cache.packages(&["numpy", "redis", "jq", "cacert"]), &cache).unwrap();
    let right = composed.nar_hash.to_nix32();
    let other = nix_data::Hash::sha256(b"another content").to_nix32();
    for nix in Nix::every().unwrap() {
        for (address, believed) in [(&right, true), (&other, false)] {
            let folder = nix.folder().join(format!("cache-{believed}"));
            publish(&cache, &composed, address, &folder);
            let store = format!("file://{}", folder.display());
            let key = testkit::setup::cache_public_key();
            let path = composed.path.to_string();
            let words = [
                "store",
                "verify",
                "--store",
                &store,
                "--sigs-needed",
                "1",
                "--trusted-public-keys",
                &key,
                &path,
            ];
            let verdict = nix.text(&words);
            assert_eq!(verdict.is_ok(), believed, "{verdict:?}");
        }
    }
}

#[test]
fn numpy_alone_brings_its_python_and_what_it_imports() {
    testkit::require!(setup);
    let cache = Cache::open();
    let composed = compose(&cache.packages(&["numpy"]), &cache).unwrap();
    let packages = "lib/python3.11/site-packages";
    for place in [
        "bin/python3",
        &format!("{packages}/numpy/__init__.py"),
        &format!("{packages}/threadpoolctl.py"),
    ] {
        assert!(
            matches!(composed.find(place, &cache).unwrap(), Some(Found::File(_))),
            "{place}"
        );
    }
    let plan = ActivationPlan::new(&Manifest::parse("").unwrap(), &composed, &cache).unwrap();
    assert_eq!(
        plan.search_paths["PYTHONPATH"],
        [format!("{}/{packages}", composed.path)]
    );
    assert_eq!(
        plan.search_paths["PATH"],
        [format!("{}/bin", composed.path)]
    );
}

#[test]
fn packages_that_clash_are_named_and_priority_settles_it() {
    testkit::require!(setup);
    let cache = Cache::open();
    let mut packages = cache.packages(&["conflict-a", "conflict-b"]);
    let error = compose(&packages, &cache).unwrap_err();
    assert!(
        matches!(&error, ComposeError::Conflict { place, .. } if place == "bin/clash"),
        "{error}"
    );
    packages[1].priority = 4;
    let composed = compose(&packages, &cache).unwrap();
    let found = composed.find("bin/clash", &cache).unwrap();
    assert!(
        matches!(found, Some(Found::File(location)) if location.path.name().starts_with("conflict-b"))
    );
}
