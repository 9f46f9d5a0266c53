//! Runs packages with nothing but their closure, to see that they are whole.

use anyhow::{Result, ensure};
use fs_err as fs;

use super::{build, nix, output_of};
use crate::setup::step::{Inputs, Steps};
use crate::{namespace, say};

const SCRIPT: &str = include_str!("smoke.sh");

/// Prints a matrix product, and what took part in it.
const PROGRAM: &str = "import numpy, ssl, sqlite3, sys; \
    product = numpy.arange(4).reshape(2, 2) @ numpy.eye(2, dtype=int); \
    assert product.tolist() == [[0, 1], [2, 3]]; \
    print('python', sys.version.split()[0], 'numpy', numpy.__version__)";

/// Each program with its package and a line that it must print.
const PROGRAMS: &[(&str, &[&str], &str)] = &[
    ("jq", &["bin/jq", "--version"], "jq-"),
    (
        "redis",
        &["bin/redis-server", "--version"],
        "Redis server v=",
    ),
    ("nginx", &["bin/nginx", "-V"], ""),
    ("curl", &["bin/curl", "--version"], "curl "),
    ("coreutils", &["bin/ls", "--version"], "ls (GNU coreutils)"),
    ("greeting", &["bin/greeting"], "Hello from version 1.0"),
];

/// Checks that the programs work where there is no other file at all. What they said is kept in `packages/smoke`.
pub(super) fn check(steps: &Steps) -> Result<()> {
    let cache = fs::read(steps.setup().join(".stamps/packages-cache"))?;
    let inputs = Inputs::of_recipe(1).with(cache).with(SCRIPT).with(PROGRAM);
    steps.run("packages/smoke", inputs, |folder| {
        let modules = ["python3", "numpy", "python3Packages.threadpoolctl"];
        let paths = build(steps, "r1", "default.nix", &modules)?;
        let module_path = paths
            .iter()
            .map(|path| format!("{path}/lib/python3.11/site-packages"));
        let module_path = format!("PYTHONPATH={}", module_path.collect::<Vec<_>>().join(":"));
        let talk = run_alone(
            &paths,
            &[
                &module_path,
                &format!("{}/bin/python3", paths[0]),
                "-c",
                PROGRAM,
            ],
        )?;
        say(talk.trim());
        fs::write(folder.join("python"), talk)?;
        for (package, command, expected) in PROGRAMS {
            let paths = build(steps, "r1", "default.nix", &[*package])?;
            let mut words = vec![format!("{}/{}", paths[0], command[0])];
            words.extend(command[1..].iter().map(|word| (*word).to_owned()));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let talk = run_alone(&paths, &words)?;
            ensure!(
                talk.starts_with(expected),
                "{package} said {talk:?} instead of {expected:?}"
            );
            fs::write(folder.join(package), talk)?;
        }
        Ok(())
    })
}

/// Runs a command in a root that has the closures of these paths and nothing else.
pub(super) fn run_alone(paths: &[String], words: &[&str]) -> Result<String> {
    let mut query = vec!["path-info", "--recursive"];
    query.extend(paths.iter().map(String::as_str));
    let closure = nix(&query)?;
    let mut command = namespace::with_nix("sh")?;
    command
        .args(["-c", SCRIPT, "smoke", closure.trim()])
        .args(words);
    output_of(&mut command)
}
