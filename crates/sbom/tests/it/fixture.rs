//! A small closure with every kind of store path in it.

use std::collections::{BTreeMap, BTreeSet};

use env_spec::System;
use env_spec::generation::ClosurePath;
use env_spec::lockfile::LockedPackage;
use nix_data::{Hash, StorePath};
use sbom::SbomInput;

pub(crate) struct Fixture {
    system: System,
    pub(crate) environment: StorePath,
    pub(crate) packages: Vec<LockedPackage>,
    pub(crate) closure: Vec<ClosurePath>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let libc = path("libc6-2.36-9+deb12u13");
        let openssl = path("openssl-3.0.15");
        let hook = path("hook");
        let curl = path("curl-8.5.0");
        let tool = path("tool-1.0");
        let man = path("curl-8.5.0-man");
        let environment = path("nival-environment");
        let mut closure = vec![
            closure_path(&libc, &[&libc]),
            closure_path(&openssl, &[&libc]),
            closure_path(&hook, &[]),
            closure_path(&curl, &[&openssl, &libc, &curl]),
            closure_path(&man, &[]),
            closure_path(&tool, &[&libc, &hook]),
            closure_path(&environment, &[&curl, &man, &tool]),
        ];
        closure.sort_by(|one, other| one.path.cmp(&other.path));
        let mut curl_package = package("curl", "8.5.0", &curl, &["curl"]);
        curl_package.outputs.insert("man".into(), man);
        curl_package.outputs_to_install.push("man".into());
        curl_package.cpe = Some("cpe:2.3:a:haxx:curl:8.5.0:*:*:*:*:*:*:*".into());
        curl_package.purl = Some("pkg:deb/debian/curl@8.5.0".into());
        curl_package.homepage = Some("https://curl.se".into());
        let tool_package = package(
            "tool",
            "1.0",
            &tool,
            &["MIT", "Some Own Licence", "Apache-2.0 OR ISC"],
        );
        let mut other_name = package("tool2", "1.0", &tool, &["MIT OR Apache-2.0"]);
        other_name.pname = "tool".into();
        Self {
            system: "x86_64-linux".parse().unwrap(),
            environment,
            packages: vec![curl_package, tool_package, other_name],
            closure,
        }
    }

    pub(crate) fn input(&self) -> SbomInput<'_> {
        SbomInput {
            environment: "acme/api".into(),
            number: 12,
            system: &self.system,
            environment_path: &self.environment,
            packages: &self.packages,
            closure: &self.closure,
            created: "2026-11-24T10:00:00.123456Z",
            tool_version: "0.1.0",
        }
    }

    /// Returns the references of the closure, without those of a path to itself.
    pub(crate) fn edges(&self) -> BTreeMap<String, BTreeSet<String>> {
        let others = |one: &ClosurePath| {
            let references = one
                .references
                .iter()
                .filter(|reference| **reference != one.path);
            references.map(ToString::to_string).collect()
        };
        self.closure
            .iter()
            .map(|one| (one.path.to_string(), others(one)))
            .collect()
    }
}

fn path(name: &str) -> StorePath {
    StorePath::source(
        name,
        &Hash::sha256(name.as_bytes()),
        &BTreeSet::new(),
        false,
    )
    .unwrap()
}

fn closure_path(path: &StorePath, references: &[&StorePath]) -> ClosurePath {
    let mut references: Vec<StorePath> = references.iter().map(|one| (*one).clone()).collect();
    references.sort();
    ClosurePath {
        path: path.clone(),
        nar_hash: Hash::sha256(path.base_name().as_bytes()),
        nar_size: 4096,
        references,
    }
}

fn package(id: &str, version: &str, path: &StorePath, licenses: &[&str]) -> LockedPackage {
    LockedPackage {
        install_id: id.into(),
        attr_path: id.into(),
        group: "toplevel".into(),
        pname: id.into(),
        version: version.into(),
        priority: 5,
        derivation: None,
        outputs: [("out".to_owned(), path.clone())].into(),
        outputs_to_install: vec!["out".into()],
        licenses: licenses.iter().map(|one| (*one).to_owned()).collect(),
        free: true,
        description: Some(format!("The package {id}")),
        homepage: None,
        cpe: None,
        purl: None,
    }
}
