//! Tests of choosing revisions.

use super::*;

fn system(name: &str) -> System {
    name.parse().unwrap()
}

fn facts(version: &str) -> PackageFacts {
    let path = |name: &str| {
        format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}-{version}")
            .parse()
            .unwrap()
    };
    PackageFacts {
        pname: "p".into(),
        version: version.into(),
        outputs: [
            ("out".into(), path("p")),
            ("man".into(), path("p-man")),
            ("dev".into(), path("p-dev")),
        ]
        .into(),
        outputs_to_install: vec!["out".into(), "man".into()],
        licenses: vec!["MIT".into()],
        free: true,
        ..PackageFacts::default()
    }
}

/// Entries such as `("jq", "1.7", "x86_64-linux aarch64-linux")`.
fn revision(name: &str, entries: &[(&str, &str, &str)]) -> RevisionFacts {
    let mut packages = BTreeMap::new();
    for (path, version, systems) in entries {
        for one in systems.split(' ') {
            packages.insert((system(one), (*path).to_owned()), facts(version));
        }
    }
    RevisionFacts {
        revision: CatalogRevision {
            revision: name.into(),
            nar_hash: None,
        },
        packages,
        names: vec!["python3".into(), "ripgrep".into()],
    }
}

const BOTH: &str = "x86_64-linux aarch64-linux";

fn manifest(install: &str) -> Manifest {
    let options = "[options]\nsystems = [\"x86_64-linux\", \"aarch64-linux\"]\n";
    Manifest::parse(&format!("{options}{install}")).unwrap()
}

fn solve(manifest: &Manifest, revisions: &[RevisionFacts]) -> Result<GroupSolution, SolveError> {
    let requests = requests(manifest).unwrap();
    let mut solver = GroupSolver::new(&requests[0]);
    let found = revisions.iter().find_map(|one| solver.consider(one));
    found.ok_or_else(|| solver.finish())
}

fn problem(manifest: &Manifest, revisions: &[RevisionFacts]) -> String {
    solve(manifest, revisions).unwrap_err().to_string()
}

#[test]
fn the_newest_revision_that_satisfies_all_is_taken() {
    let wanted = manifest("[install]\na.pkg-path = \"a\"\na.version = \"^1\"\nb.pkg-path = \"b\"");
    let revisions = [
        revision("r3", &[("a", "2.0", BOTH), ("b", "3", BOTH)]),
        revision("r2", &[("a", "1.9", BOTH), ("b", "2", BOTH)]),
        revision("r1", &[("a", "1.8", BOTH), ("b", "1", BOTH)]),
    ];
    let solution = solve(&wanted, &revisions).unwrap();
    assert_eq!(solution.revision.revision, "r2");
    let here = &solution.packages[&system("aarch64-linux")];
    assert_eq!(
        here.iter()
            .map(|one| one.version.as_str())
            .collect::<Vec<_>>(),
        ["1.9", "2"]
    );
    assert_eq!(here[0].outputs_to_install, ["out", "man"]);
}

#[test]
fn groups_are_resolved_apart() {
    let wanted = manifest(
        "[install]\na.pkg-path = \"a\"\nb = { pkg-path = \"b\", pkg-group = \"old\", version = \"1\" }",
    );
    let requests = requests(&wanted).unwrap();
    let names: Vec<&str> = requests.iter().map(|one| one.group.as_str()).collect();
    assert_eq!(names, ["old", "toplevel"]);
    assert_eq!(requests[0].wanted()[&system("x86_64-linux")], ["b"]);
}

#[test]
fn outputs_are_those_that_were_asked_for() {
    let revisions = [revision("r", &[("a", "1", BOTH)])];
    let all = manifest("[install]\na = { pkg-path = \"a\", outputs = \"all\" }");
    let solution = solve(&all, &revisions).unwrap();
    assert_eq!(
        solution.packages[&system("x86_64-linux")][0].outputs_to_install,
        ["out", "dev", "man"]
    );
    let some = manifest("[install]\na = { pkg-path = \"a\", outputs = [\"doc\"] }");
    assert_eq!(
        problem(&some, &revisions),
        "package a (install.a) has no output \"doc\"; it has dev, man, out"
    );
}

#[test]
fn an_unknown_package_comes_with_the_nearest_name() {
    let wanted = manifest("[install]\npython.pkg-path = \"pyton3\"\nx.pkg-path = \"zzzzzz\"");
    let found = problem(&wanted, &[revision("r", &[])]);
    assert_eq!(
        found,
        "package pyton3 (install.python) is not in the package set; did you mean python3?\n\
         package zzzzzz (install.x) is not in the package set"
    );
}

#[test]
fn a_package_missing_on_a_system_names_it_and_how_to_leave_it_out() {
    let revisions = [revision("r", &[("gdb", "1", "x86_64-linux")])];
    let found = problem(&manifest("[install]\ngdb.pkg-path = \"gdb\""), &revisions);
    assert_eq!(
        found,
        "package gdb (install.gdb) is not available on aarch64-linux; \
         to leave it out there, write gdb.systems = [\"x86_64-linux\"]"
    );
    let restricted =
        manifest("[install]\ngdb = { pkg-path = \"gdb\", systems = [\"x86_64-linux\"] }");
    let solution = solve(&restricted, &revisions).unwrap();
    assert_eq!(solution.packages.len(), 1);
    let mut unsupported = revision("r", &[("gdb", "1", BOTH)]);
    unsupported
        .packages
        .get_mut(&(system("aarch64-linux"), "gdb".into()))
        .unwrap()
        .unsupported = true;
    assert!(
        problem(
            &manifest("[install]\ngdb.pkg-path = \"gdb\""),
            &[unsupported]
        )
        .contains("aarch64-linux;")
    );
}

#[test]
fn versions_that_there_are_stand_in_the_error() {
    let wanted = manifest("[install]\na.pkg-path = \"a\"\na.version = \"^9\"");
    let revisions = [
        revision("r2", &[("a", "1.10", BOTH)]),
        revision("r1", &[("a", "1.9", BOTH)]),
    ];
    assert_eq!(
        problem(&wanted, &revisions),
        "no version of a satisfies \"^9\" (install.a.version); available: 1.10, 1.9"
    );
}

#[test]
fn what_is_not_allowed_says_how_to_allow_it() {
    let wanted = manifest("[install]\na.pkg-path = \"a\"");
    let with = |change: fn(&mut PackageFacts)| {
        let mut one = revision("r", &[("a", "1", BOTH)]);
        one.packages.values_mut().for_each(change);
        one
    };
    let unfree = with(|one| one.free = false);
    assert!(
        problem(&wanted, std::slice::from_ref(&unfree))
            .contains("not free (MIT); to allow it, set options.allow.unfree = true")
    );
    let broken = with(|one| one.broken = true);
    assert!(problem(&wanted, &[broken]).contains("options.allow.broken = true"));
    let allowed = Manifest::parse("[install]\na.pkg-path = \"a\"\n[options]\nallow.unfree = true\nsystems = [\"x86_64-linux\"]").unwrap();
    assert!(solve(&allowed, &[unfree]).is_ok());
    let listed = Manifest::parse("[install]\na.pkg-path = \"a\"\n[options]\nallow.licenses = [\"Apache-2.0\"]\nsystems = [\"x86_64-linux\"]").unwrap();
    assert!(problem(&listed, &[with(|_| ())]).contains("does not list (MIT)"));
}

#[test]
fn packages_that_exclude_each_other_are_told_apart() {
    let wanted = manifest(
        "[install]\na.pkg-path = \"a\"\na.version = \"1\"\nb.pkg-path = \"b\"\nb.version = \"2\"",
    );
    let revisions = [
        revision("r2", &[("a", "2", BOTH), ("b", "2", BOTH)]),
        revision("r1", &[("a", "1", BOTH), ("b", "1", BOTH)]),
    ];
    let found = problem(&wanted, &revisions);
    assert!(
        found.contains("(a: r1; b: r2); give one of them another pkg-group"),
        "{found}"
    );
}

#[test]
fn nothing_to_choose_from_is_said() {
    assert!(problem(&manifest("[install]\na.pkg-path = \"a\""), &[]).contains("configure one"));
}
