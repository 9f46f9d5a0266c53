//! Tests of reading manifests.

use super::*;

const FULL: &str = r#"
schema-version = "1.16.0"
description = "everything"

[install]
python3.pkg-path = "python3"
python3.version = "^3.11"
numpy = { pkg-path = ["python3Packages", "numpy"], priority = 4, systems = ["x86_64-linux"] }
tool.flake = "github:owner/name#tool"
thing.store-path = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-thing-1.0"

[install.curl]
pkg-path = "curl"
pkg-group = "net"
outputs = ["bin", "man"]

[vars]
DATA = "${HOME}/data"
LOG = "$DATA/log"

[hook]
on-activate = '''
mkdir -p "$DATA"
'''

[profile]
common = "true"
fish = "set -x A b"

[services.db]
command = "redis-server"
shutdown.signal = 2
readiness.command = "redis-cli ping"

[services.api]
command = "serve"
vars.PORT = "80"
depends-on = ["db"]

[include]
environments = [{ dir = "../base" }, { remote = "acme/base", generation = 3, name = "b" }]

[build.app]
command = "make"
version.file = "VERSION"
sandbox = "pure"
runtime-packages = ["curl"]
license = "MIT"

[options]
systems = ["x86_64-linux", "aarch64-linux"]
allow.unfree = true
semver.allow-pre-releases = true
activate.mode = "run"
cuda-detection = false

[containerize.config]
cmd = ["serve"]
exposed-ports = ["80/tcp"]
labels = { "org.example" = "x" }
"#;

fn errors(text: &str) -> Vec<String> {
    let error = Manifest::parse(text).expect_err(text);
    error.diagnostics.iter().map(ToString::to_string).collect()
}

fn only_error(text: &str) -> String {
    let mut all = errors(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn every_table_is_read() {
    let manifest = Manifest::parse(FULL).unwrap();
    let numpy = &manifest.install["numpy"];
    assert_eq!(numpy.priority, 4);
    assert_eq!(numpy.systems.len(), 1);
    let group = DEFAULT_GROUP.to_owned();
    let pkg_path = "python3Packages.numpy".to_owned();
    assert_eq!(
        numpy.source,
        InstallSource::Catalog {
            pkg_path,
            version: None,
            group
        }
    );
    assert_eq!(manifest.install["python3"].systems.len(), 2);
    assert_eq!(
        manifest.install["curl"].outputs,
        Outputs::Named(vec!["bin".into(), "man".into()])
    );
    assert_eq!(manifest.options.activate_mode, ActivateMode::Run);
    assert!(manifest.options.allow.unfree && !manifest.options.allow.broken);
    assert_eq!(
        manifest.services["db"].shutdown.as_ref().unwrap().signal,
        Some(2)
    );
    assert_eq!(manifest.services["api"].depends_on, ["db"]);
    assert_eq!(manifest.include.len(), 2);
    assert_eq!(
        manifest.build["app"].version,
        Some(BuildVersion::File("VERSION".into()))
    );
    assert_eq!(manifest.containerize.unwrap().labels["org.example"], "x");
}

#[test]
fn an_empty_manifest_has_flox_defaults() {
    let manifest = Manifest::parse("version = 1").unwrap();
    assert_eq!(manifest.options.systems, System::all());
    assert_eq!(manifest.options.activate_mode, ActivateMode::Dev);
    assert!(!manifest.options.allow.unfree);
    assert_eq!(Manifest::parse("").unwrap(), manifest);
}

#[test]
fn unknown_keys_show_the_line_and_the_nearest_key() {
    let text = "[install]\njq.pkg-path = \"jq\"\njq.prioritty = 3\n";
    assert_eq!(
        only_error(text),
        "line 3: unknown key prioritty in install.jq; did you mean priority?"
    );
    let error = Manifest::parse(text).unwrap_err();
    assert_eq!(
        (error.diagnostics[0].column, error.diagnostics[0].length),
        (4, 9)
    );
    assert_eq!(
        only_error("[instal]\n"),
        "line 1: unknown key instal; did you mean install?"
    );
    assert!(only_error("[hook]\nzzzzzz = \"\"").contains("known here: on-activate"));
    let text = "[options]\nallow.unfre = true";
    assert_eq!(
        only_error(text),
        "line 2: unknown key unfre in options.allow; did you mean unfree?"
    );
}

#[test]
fn all_errors_are_shown_at_once_from_top_to_bottom() {
    let found =
        errors("[vars]\nA = 1\n[options]\nsystems = [\"x86-linux\"]\n[install]\na = \"b\"\n");
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(
        found[0],
        "line 2: vars.A must be a string, not a number; write it in quotes: \"1\""
    );
    assert_eq!(
        found[1],
        "line 4: options.systems[0] is \"x86-linux\", which is no system; did you mean x86_64-linux?"
    );
    assert_eq!(
        found[2],
        "line 6: install.a must be a table, not a string; write a.pkg-path = …"
    );
}

#[test]
fn syntax_errors_have_a_place() {
    assert!(only_error("[install]\njq.pkg-path = \"jq\n").starts_with("line 2: "));
    assert!(only_error("a = 1\na = 2").starts_with("line 2: "));
}

#[test]
fn values_out_of_range_are_refused_with_their_name() {
    for (text, part) in [
        ("version = 2", "version is 2; allowed are 1 to 1"),
        ("schema-version = \"1.99.0\"", "too new"),
        ("schema-version = \"x\"", "is no version"),
        (
            "version = 1\nschema-version = \"1.10.0\"",
            "stands beside version",
        ),
        ("[install]\na.pkg-path = \"a b\"", "is not a package path"),
        (
            "[install]\na.pkg-path = \"${builtins.abort}\"",
            "is not a package path",
        ),
        (
            "[install]\na.pkg-path = \"a\"\na.flake = \"b\"",
            "exactly one of",
        ),
        ("[install]\na.priority = 3", "exactly one of"),
        (
            "[install]\na.store-path = \"/etc/passwd\"",
            "is no store path",
        ),
        (
            "[install]\na.pkg-path = \"a\"\na.version = \">=\"",
            "is not a version requirement",
        ),
        (
            "[install]\na.pkg-path = \"a\"\na.priority = -1",
            "is -1; allowed are 0",
        ),
        (
            "[install]\na.pkg-path = \"a\"\na.outputs = []",
            "names no output",
        ),
        ("[install]\n\"a/b\".pkg-path = \"a\"", "is not a valid name"),
        ("[vars]\n\"A-B\" = \"x\"", "is not a valid name"),
        ("[vars]\nA = \"$B\"\nB = \"$A\"", "in a circle: A → B → A"),
        ("[vars]\nA = \"${\"", "which is no reference"),
        ("[services.a]\nvars.X = \"y\"", "services.a lacks command"),
        (
            "[services.a]\ncommand = \"x\"\nis-daemon = true",
            "daemon without shutdown.command",
        ),
        (
            "[services.a]\ncommand = \"x\"\ndepends-on = [\"b\"]",
            "depends on \"b\"",
        ),
        (
            "[services.a]\ncommand = \"x\"\ndepends-on = [\"a\"]",
            "in a circle: a → a",
        ),
        (
            "[include]\nenvironments = [{ name = \"x\" }]",
            "either dir or remote",
        ),
        (
            "[build.a]\ncommand = \"x\"\nsandbox = \"on\"",
            "allowed are \"off\" and \"pure\"",
        ),
        (
            "[build.a]\ncommand = \"x\"\nruntime-packages = [\"q\"]",
            "which [install] lacks",
        ),
        (
            "[options]\nactivate.mode = \"prod\"",
            "allowed are \"dev\" and \"run\"",
        ),
        ("[options]\nsystems = []", "names no system"),
        ("[vars]\nA = \"a\\u0000b\"", "NUL"),
    ] {
        let found = errors(text).join("\n");
        assert!(found.contains(part), "{text}: {found}");
    }
}

#[test]
fn a_circle_of_services_is_reported_once() {
    let text = "[services]\na = { command = \"x\", depends-on = [\"b\"] }\nb = { command = \"x\", depends-on = [\"a\"] }\nc = { command = \"x\", depends-on = [\"a\"] }";
    assert_eq!(
        only_error(text),
        "line 2: services depend on each other in a circle: a → b → a"
    );
}

#[test]
fn keys_of_flox_without_effect_are_warnings() {
    let text = "minimum-cli-version = \"1.4.0\"\n[options]\nstability = \"stable\"\n";
    let warnings = ManifestFile::parse(text).unwrap().warnings;
    let found: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "line 1: minimum-cli-version has no effect in Nival",
            "line 3: options.stability has no effect in Nival"
        ]
    );
}

#[test]
fn comments_order_and_spelled_out_defaults_make_no_difference_to_the_lock() {
    let one =
        Manifest::parse("[install]\na.pkg-path = \"a\"\nb.pkg-path = \"b\"\n[vars]\nX = \"1\"")
            .unwrap();
    let two = "# why\nversion = 1\n[vars]\nX = '1'\n[install]\nb = { pkg-path = \"b\" }\n[install.a]\npkg-path = \"a\"\npriority = 5 # default";
    let two = Manifest::parse(two).unwrap();
    assert_eq!(one.to_value().to_string(), two.to_value().to_string());
}

#[test]
fn an_including_manifest_wins_over_the_included_one() {
    let base = "[install]\na.pkg-path = \"a\"\nb.pkg-path = \"b\"\n[vars]\nX = \"base\"\nY = \"base\"\n[hook]\non-activate = \"echo base\\n\"\n[options]\nsystems = [\"x86_64-linux\"]\nallow.unfree = true";
    let own = "[install]\na.pkg-path = \"other\"\n[vars]\nX = \"own\"\n[hook]\non-activate = \"echo own\"\n[options]\nallow.unfree = false";
    let merged = ManifestFile::parse(own)
        .unwrap()
        .include_before(ManifestFile::parse(base).unwrap());
    let merged = merged.decide();
    assert!(
        matches!(&merged.install["a"].source, InstallSource::Catalog { pkg_path, .. } if pkg_path == "other")
    );
    assert!(merged.install.contains_key("b"));
    assert_eq!(
        (merged.vars["X"].as_str(), merged.vars["Y"].as_str()),
        ("own", "base")
    );
    assert_eq!(merged.hook.on_activate.unwrap(), "echo base\necho own");
    assert_eq!(merged.options.systems.len(), 1);
    assert!(!merged.options.allow.unfree);
}

#[test]
fn hostile_texts_end_in_errors_not_panics() {
    let deep = format!("a = {}", "[".repeat(100_000));
    let tables = format!("[{}]", vec!["a"; 50_000].join("."));
    let large = "#".repeat(LARGEST_MANIFEST + 1);
    for text in [
        "\0",
        "[",
        "= =",
        "\u{feff}[x",
        "a.b = 1\na = 2",
        "[[install]]",
        &deep,
        &tables,
        &large,
    ] {
        assert!(Manifest::parse(text).is_err());
    }
}
