//! Tests of plans and their expansion.

use super::*;
use crate::compose::compose;
use crate::compose::testing::{MemoryStore, package};
use crate::lockfile::LockedPackage;

fn plan(
    manifest: &str,
    store: &MemoryStore,
    packages: &[LockedPackage],
) -> (ActivationPlan, String) {
    let composed = compose(packages, store).unwrap();
    let manifest = Manifest::parse(manifest).unwrap();
    (
        ActivationPlan::new(&manifest, &composed, store).unwrap(),
        composed.path.to_string(),
    )
}

fn surroundings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn value(set: &[(String, String)], name: &str) -> Option<String> {
    set.iter()
        .find(|one| one.0 == name)
        .map(|one| one.1.clone())
}

#[test]
fn search_paths_name_the_folders_that_are_there() {
    let mut store = MemoryStore::default();
    let path = store.add(
        "a",
        &[
            "bin/a",
            "share/man/man1/a.1",
            "include/a.h",
            "lib/pkgconfig/a.pc",
        ],
    );
    let (plan, env) = plan("", &store, &[package("a", 5, &path)]);
    assert_eq!(
        plan.search_paths.keys().collect::<Vec<_>>(),
        ["MANPATH", "PATH", "XDG_DATA_DIRS"]
    );
    assert_eq!(plan.search_paths["PATH"], [format!("{env}/bin")]);
    assert_eq!(
        plan.development_paths.keys().collect::<Vec<_>>(),
        ["CPATH", "LIBRARY_PATH", "PKG_CONFIG_PATH"]
    );
    let set = plan.expand(ActivateMode::Run, &surroundings(&[("PATH", "/bin")]));
    assert_eq!(value(&set, "PATH").unwrap(), format!("{env}/bin:/bin"));
    assert_eq!(value(&set, "MANPATH").unwrap(), format!("{env}/share/man:"));
    assert_eq!(
        value(&set, "XDG_DATA_DIRS").unwrap(),
        format!("{env}/share:/usr/local/share:/usr/share")
    );
    assert_eq!(value(&set, "CPATH"), None);
    assert_eq!(value(&set, "LD_LIBRARY_PATH"), None);
    let set = plan.expand(ActivateMode::Dev, &BTreeMap::new());
    assert_eq!(value(&set, "CPATH").unwrap(), format!("{env}/include"));
    assert_eq!(value(&set, "PATH").unwrap(), format!("{env}/bin"));
}

#[test]
fn python_finds_packages_beside_it_and_their_propagated_ones() {
    let mut store = MemoryStore::default();
    let python = store.add(
        "python3-3.11.2",
        &[
            "bin/python3 -> python3.11",
            "bin/python3.11",
            "lib/python3.11/os.py",
        ],
    );
    let helper = store.add("helper", &["lib/python3.11/site-packages/helper.py"]);
    let numpy = store.add(
        "numpy",
        &[
            "lib/python3.11/site-packages/numpy/__init__.py",
            &format!("nix-support/propagated-build-inputs={python} {helper}"),
        ],
    );
    let packages = [package("numpy", 5, &numpy), package("python3", 5, &python)];
    let (both, env) = plan("", &store, &packages);
    assert_eq!(
        both.search_paths["PYTHONPATH"],
        [format!("{env}/lib/python3.11/site-packages")]
    );
    let composed = compose(&packages, &store).unwrap();
    for module in ["numpy/__init__.py", "helper.py"] {
        let place = format!("lib/python3.11/site-packages/{module}");
        assert!(composed.find(&place, &store).unwrap().is_some(), "{module}");
    }
    // The package alone brings its Python along.
    let (alone, _) = plan("", &store, &packages[..1]);
    assert!(
        alone.search_paths.contains_key("PYTHONPATH") && alone.search_paths.contains_key("PATH")
    );
    let (bare, _) = plan("", &store, &packages[1..]);
    assert!(!bare.search_paths.contains_key("PYTHONPATH"));
}

#[test]
fn of_several_pythons_the_one_that_python3_starts_gets_its_packages() {
    let mut store = MemoryStore::default();
    let old = store.add(
        "old",
        &[
            "bin/python3 -> python3.11",
            "bin/python3.11",
            "lib/python3.11/site-packages/a.py",
        ],
    );
    let new = store.add(
        "new",
        &[
            "bin/python3 -> python3.12",
            "bin/python3.12",
            "lib/python3.12/site-packages/b.py",
        ],
    );
    let (found, env) = plan(
        "",
        &store,
        &[package("old", 4, &old), package("new", 5, &new)],
    );
    assert_eq!(
        found.search_paths["PYTHONPATH"],
        [format!("{env}/lib/python3.11/site-packages")]
    );
    let (found, env) = plan(
        "",
        &store,
        &[package("old", 6, &old), package("new", 5, &new)],
    );
    assert_eq!(
        found.search_paths["PYTHONPATH"],
        [format!("{env}/lib/python3.12/site-packages")]
    );
}

#[test]
fn variables_know_the_environment_and_stay_open_for_the_surroundings() {
    let mut store = MemoryStore::default();
    let path = store.add("a", &["bin/a"]);
    let text = "[vars]\nCONFIG = \"$NIVAL_ENV/etc\"\nDATA = \"${HOME}/data\"\nPATH = \"/extra:$PATH\"\nPRICE = \"5$$\"\n[hook]\non-activate = \"echo\"";
    let (plan, env) = plan(text, &store, &[package("a", 5, &path)]);
    let set = plan.expand(
        ActivateMode::Run,
        &surroundings(&[("HOME", "/root"), ("PATH", "/bin")]),
    );
    assert_eq!(value(&set, "NIVAL_ENV").unwrap(), env);
    assert_eq!(value(&set, "CONFIG").unwrap(), format!("{env}/etc"));
    assert_eq!(value(&set, "DATA").unwrap(), "/root/data");
    assert_eq!(value(&set, "PRICE").unwrap(), "5$");
    assert_eq!(
        value(&set, "PATH").unwrap(),
        format!("{env}/bin:/extra:/bin")
    );
    assert_eq!(value(&set, "FLOX_ENV"), None);
    assert_eq!(set.iter().filter(|one| one.0 == "PATH").count(), 1);
    assert_eq!(plan.hook.as_deref(), Some("echo"));
}

#[test]
fn certificates_are_found_and_a_variable_of_the_manifest_wins() {
    let mut store = MemoryStore::default();
    let path = store.add("cacert", &["etc/ssl/certs/ca-bundle.crt"]);
    let text = "[vars]\nSSL_CERT_FILE = \"/own.crt\"\n[hook]\non-activate = \"ls $FLOX_ENV/bin\"";
    let (plan, env) = plan(text, &store, &[package("cacert", 5, &path)]);
    let set = plan.expand(ActivateMode::Run, &BTreeMap::new());
    assert_eq!(value(&set, "SSL_CERT_FILE").unwrap(), "/own.crt");
    assert_eq!(
        value(&set, "NIX_SSL_CERT_FILE").unwrap(),
        format!("{env}/etc/ssl/certs/ca-bundle.crt")
    );
    assert_eq!(value(&set, "FLOX_ENV").unwrap(), env);
}

#[test]
fn a_plan_reads_back_as_it_was_written() {
    let mut store = MemoryStore::default();
    let path = store.add("a", &["bin/a", "include/a.h"]);
    let (plan, _) = plan("[vars]\nA = \"b\"", &store, &[package("a", 5, &path)]);
    let text = serde_json::to_string(&plan).unwrap();
    assert!(text.contains("developmentPaths"));
    assert_eq!(serde_json::from_str::<ActivationPlan>(&text).unwrap(), plan);
    let old = r#"{"variables":[],"searchPaths":{},"hook":null}"#;
    assert_eq!(
        serde_json::from_str::<ActivationPlan>(old).unwrap(),
        ActivationPlan::default()
    );
}

#[test]
fn a_plan_that_the_manifest_cannot_have_is_told_without_the_packages() {
    let mut store = MemoryStore::default();
    let path = store.add(
        "a",
        &[
            "bin/python3.12",
            "bin/python3 -> python3.12",
            "lib/python3.12/site-packages/a.py",
            "include/a.h",
            "etc/ssl/certs/ca-bundle.crt",
        ],
    );
    let text = "[vars]\nA = \"a $SSL_CERT_FILE\"\n[hook]\non-activate = \"true\"\n";
    let (plan, env) = plan(text, &store, &[package("a", 5, &path)]);
    let environment: StorePath = env.parse().unwrap();
    let manifest = Manifest::parse(text).unwrap();
    let can = |plan: &ActivationPlan| plan.can_be_of(&manifest, &environment).unwrap();
    assert!(can(&plan));
    assert!(plan.search_paths.contains_key("PYTHONPATH"));

    let edit = |edit: &dyn Fn(&mut ActivationPlan)| {
        let mut edited = plan.clone();
        edit(&mut edited);
        assert_ne!(edited, plan);
        can(&edited)
    };
    assert!(!edit(&|plan| plan.hook = Some("evil".into())));
    assert!(!edit(&|plan| plan.hook = None));
    assert!(!edit(&|plan| plan.variables.push(Variable {
        name: "LD_PRELOAD".into(),
        value: "/tmp/evil.so".into()
    })));
    for (name, entry) in [
        ("LD_PRELOAD", format!("{env}/lib/a.so")),
        ("PATH", "/tmp".to_owned()),
        ("PATH", format!("{env}/bin:/tmp")),
        ("PATH", format!("{env}/../bin")),
        (
            "PYTHONPATH",
            format!("{env}/lib/python3.1/../site-packages"),
        ),
    ] {
        let entries = vec![entry];
        assert!(!edit(&|plan| {
            plan.search_paths.insert(name.into(), entries.clone());
        }));
        assert!(!edit(&|plan| {
            plan.development_paths.insert(name.into(), entries.clone());
        }));
    }
}
