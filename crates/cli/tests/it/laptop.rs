//! A developer's machine with the real Nix and the test packages.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use testkit::{Failure, Kind, Machine, World, require, setup};

use crate::user::NIVAL;

/// A laptop with `nival` on its PATH, configured for the test packages.
struct Laptop {
    machine: Machine,
    _world: World,
}

impl Laptop {
    fn new() -> Self {
        let world = World::new().unwrap();
        let machine = world.machine(Kind::Laptop, "laptop").unwrap();
        let shared = machine.shared();
        let program = shared.join("nival");
        fs_err::copy(NIVAL, &program).unwrap();
        fs_err::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let laptop = Self {
            machine,
            _world: world,
        };
        laptop.configure(&["r2", "r1"]);
        laptop.well("mkdir ~/app && cd ~/app && nival init");
        laptop
    }

    /// Sets the revisions of the package set, newest first.
    fn configure(&self, revisions: &[&str]) {
        let list: Vec<String> = revisions
            .iter()
            .map(|name| {
                format!(
                    "{{ name = \"{name}\", path = \"{}\" }}",
                    setup::revision(name).display()
                )
            })
            .collect();
        let text = format!("[catalog]\nrevisions = [{}]\n", list.join(", "));
        let staged = self.machine.shared().join("config.toml");
        fs_err::write(&staged, text).unwrap();
        self.well(&format!(
            "mkdir -p ~/.config/nival && cp {} ~/.config/nival/",
            staged.display()
        ));
    }

    fn shell(&self, script: &str) -> Result<String, Failure> {
        let folder = self.machine.shared();
        self.machine
            .shell(&format!("export PATH={}:$PATH; {script}", folder.display()))
    }

    #[track_caller]
    fn well(&self, script: &str) -> String {
        self.shell(script)
            .unwrap_or_else(|error| panic!("`{script}`: {error}"))
    }

    /// Runs a script that must fail, and returns what was said.
    #[track_caller]
    fn badly(&self, script: &str, parts: &[&str]) {
        let talk = match self.shell(script) {
            Ok(text) => panic!("`{script}` was not refused: {text}"),
            Err(error) => error.to_string(),
        };
        for part in parts {
            assert!(talk.contains(part), "{part:?} is missing in: {talk}");
        }
    }

    fn lock(&self, folder: &str) -> Value {
        serde_json::from_str(&self.well(&format!("cat {folder}/.nival/manifest.lock"))).unwrap()
    }
}

/// The state of manifest and lock, as one text.
const STATE: &str =
    "cat ~/app/.nival/manifest.toml; cat ~/app/.nival/manifest.lock 2>/dev/null || true";

#[test]
fn install_lock_and_activate_tell_one_story() {
    require!(root, setup);
    let laptop = Laptop::new();
    laptop.well("cd ~/app && nival install python3 numpy");
    let lock = laptop.lock("~/app");
    let here = &lock["systems"]["x86_64-linux"];
    let environment = here["environment"]["path"].as_str().unwrap().to_owned();
    let closure = here["environment"]["closure"].as_array().unwrap();
    assert!(
        closure
            .iter()
            .any(|one| one["path"] == environment.as_str())
    );
    assert!(
        closure
            .iter()
            .all(|one| one["narHash"].as_str().unwrap().starts_with("sha256-"))
    );
    let other = &lock["systems"]["aarch64-linux"];
    assert_eq!(other["packages"].as_array().unwrap().len(), 2);

    let version = laptop
        .well("cd ~/app && nival activate -- python3 -c 'import numpy; print(numpy.__version__)'");
    assert!(
        version.trim().chars().next().unwrap().is_ascii_digit(),
        "{version}"
    );
    // Nix knows the environment, keeps it, and finds its bytes right.
    laptop.well(&format!(
        "nix store verify --no-trust {environment} && nix store gc && test -e {environment}"
    ));
    laptop.well("cd ~/app && nival verify");

    let listed: Value =
        serde_json::from_str(&laptop.well("cd ~/app && nival list --json")).unwrap();
    let ids: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["install-id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["numpy", "python3"]);
}

#[test]
fn a_command_ends_as_itself_and_its_output_is_its_own() {
    require!(root, setup);
    let laptop = Laptop::new();
    laptop.well("cd ~/app && nival install bash coreutils");
    let manifest = "version = 1\n[install]\nbash.pkg-path = \"bash\"\ncoreutils.pkg-path = \"coreutils\"\n\
        [hook]\non-activate = \"echo from the hook; export FROM_HOOK=yes\"\n[vars]\nGREETING = \"hello ${USER}\"\n\
        [options]\nsystems = [\"x86_64-linux\"]\n";
    let staged = laptop.machine.shared().join("manifest.toml");
    fs_err::write(&staged, manifest).unwrap();
    laptop.well(&format!(
        "cp {} ~/app/.nival/ && cd ~/app && nival lock",
        staged.display()
    ));
    let out =
        laptop.well("cd ~/app && USER=ann nival activate -- bash -c 'echo $FROM_HOOK $GREETING'");
    assert_eq!(out, "yes hello ann\n");
    let code = laptop.well("cd ~/app && { nival activate -- bash -c 'exit 7' && :; } || echo $?");
    assert_eq!(code.trim(), "7");
    laptop.badly(
        "cd ~/app && nival activate -- no-such-command",
        &["no-such-command", "nival list"],
    );
    let printed = laptop.well("cd ~/app && nival activate --print");
    assert!(printed.contains("export GREETING="), "{printed}");
    laptop.well("cd ~/app && sed -i 's/echo from the hook/false; exit 3/' .nival/manifest.toml");
    laptop.badly("cd ~/app && nival activate -- true", &["exit status: 3"]);
}

#[test]
fn a_refused_change_changes_nothing() {
    require!(root, setup);
    let laptop = Laptop::new();
    laptop.well("cd ~/app && nival install bash");
    let before = laptop.well(STATE);
    laptop.badly("cd ~/app && nival install pyhton3", &["pyhton3", "python3"]);
    laptop.badly(
        "cd ~/app && nival install conflict-a conflict-b",
        &["conflict-a", "conflict-b", "bin/clash"],
    );
    laptop.badly(
        "cd ~/app && nival install only-x86",
        &["only-x86", "aarch64-linux", "systems"],
    );
    laptop.badly("cd ~/app && nival install 'jq;rm'", &["jq;rm"]);
    laptop.badly("cd ~/app && nival install jq@^99", &["jq", "99"]);
    laptop.badly("cd ~/app && nival uninstall jq", &["jq"]);
    assert_eq!(laptop.well(STATE), before);
}

#[test]
fn a_change_elsewhere_keeps_a_group_at_its_revision_and_upgrade_moves_it() {
    require!(root, setup);
    let laptop = Laptop::new();
    laptop.configure(&["r1"]);
    laptop.well("cd ~/app && nival install jq");
    laptop.configure(&["r2", "r1"]);
    laptop.well("cd ~/app && nival install bash");
    assert_eq!(laptop.lock("~/app")["groups"]["toplevel"]["revision"], "r1");
    laptop.well("cd ~/app && nival upgrade");
    assert_eq!(laptop.lock("~/app")["groups"]["toplevel"]["revision"], "r2");
    laptop.well("cd ~/app && nival lock --check");
}

#[test]
fn the_same_manifest_gives_the_same_lock_anywhere() {
    require!(root, setup);
    let laptop = Laptop::new();
    laptop.well("cd ~/app && nival install jq && nival uninstall jq && nival install jq redis");
    laptop.well(
        "mkdir -p /tmp/else/where/.nival && cp ~/app/.nival/manifest.toml /tmp/else/where/.nival/",
    );
    laptop.well("cd /tmp/else/where && TZ=Asia/Tokyo USER=somebody nival lock");
    assert_eq!(laptop.lock("~/app"), laptop.lock("/tmp/else/where"));
}

#[test]
fn an_environment_of_another_system_is_composed_from_what_the_cache_has() {
    require!(root, setup);
    let laptop = Laptop::new();
    laptop.well("cd ~/app && nival install jq");
    let jq =
        laptop.lock("~/app")["systems"]["x86_64-linux"]["packages"][0]["outputs"]["out"].clone();
    let jq = jq.as_str().unwrap();
    // A path that the manifest names is the same on every system, so another laptop can have it for both.
    let other = Laptop::new();
    let manifest = format!(
        "version = 1\n[install]\njq.store-path = \"{jq}\"\n[options]\nsystems = [\"aarch64-linux\", \"x86_64-linux\"]\n"
    );
    let staged = other.machine.shared().join("manifest.toml");
    fs_err::write(&staged, manifest).unwrap();
    other.well(&format!(
        "cp {} ~/app/.nival/ && cd ~/app && nival lock",
        staged.display()
    ));
    let lock = other.lock("~/app");
    let path = |system: &str| lock["systems"][system]["environment"]["path"].clone();
    assert!(path("aarch64-linux").is_string(), "{lock}");
    assert_eq!(path("aarch64-linux"), path("x86_64-linux"));
    assert_eq!(
        lock["systems"]["x86_64-linux"]["packages"][0]["version"],
        "1.6"
    );
    assert_eq!(
        other.well("cd ~/app && nival activate -- jq -n 1+1").trim(),
        "2"
    );
}

#[test]
fn the_oldest_nix_does_as_well() {
    require!(root, setup);
    let laptop = Laptop::new();
    laptop.well("cd ~/app && NIVAL_NIX=nix-2.26 nival install jq");
    let newest = Laptop::new();
    newest.well("cd ~/app && nival install jq");
    assert_eq!(laptop.lock("~/app"), newest.lock("~/app"));
    let tried = laptop.well("cd ~/app && NIVAL_NIX=nix-2.26 nival activate -- jq -n 1+1");
    assert_eq!(tried.trim(), "2");
}

#[test]
fn what_the_package_set_says_of_a_removed_package_reaches_the_user() {
    require!(root, setup);
    let laptop = Laptop::new();
    laptop.well(
        "mkdir ~/set && echo '{ system }: { old = throw \"old was renamed to new\"; deep = { }; }' > ~/set/default.nix && \
         echo '[catalog]' > ~/.config/nival/config.toml && \
         echo 'revisions = [{ name = \"mine\", path = \"/root/set\" }]' >> ~/.config/nival/config.toml"
    );
    laptop.badly(
        "cd ~/app && nival install old",
        &["old", "mine", "old was renamed to new"],
    );
    laptop.badly("cd ~/app && nival install deep", &["deep"]);
    laptop.badly(
        "cd ~/app && echo '1 +' > ~/set/default.nix && nival install old",
        &["/root/set", "syntax error"],
    );
}

#[test]
fn an_interactive_shell_has_the_environment_first_and_says_so() {
    require!(root, setup);
    let laptop = Laptop::new();
    laptop.well("cd ~/app && nival install jq && echo 'PATH=/usr/bin:/bin' > ~/.bashrc");
    let out = laptop.well(
        "cd ~/app && echo 'echo \"$PS1\"; type jq; exit 5' | SHELL=/bin/bash nival activate 2>/dev/null && exit 9 || echo code $?",
    );
    assert!(out.contains("[app]"), "{out}");
    assert!(out.contains("nival-environment/bin/jq"), "{out}");
    assert!(out.contains("code 5"), "{out}");
}

#[test]
fn bytes_that_changed_on_the_machine_are_found() {
    require!(root, setup);
    let laptop = Laptop::new();
    laptop.well("cd ~/app && nival install jq && nival verify");
    laptop.well(
        "file=$(readlink -f $(cd ~/app && nival activate -- sh -c 'command -v jq')) && chmod u+w $file && printf x | dd of=$file bs=1 seek=100 conv=notrunc 2>/dev/null",
    );
    laptop.badly("cd ~/app && nival verify", &["jq-1.6", "other bytes"]);
}

#[test]
fn a_lock_from_git_is_activated_without_evaluating() {
    require!(root, setup);
    let laptop = Laptop::new();
    laptop.well("cd ~/app && nival install jq");
    let other = Laptop::new();
    for file in ["manifest.toml", "manifest.lock"] {
        let text = laptop.well(&format!("cat ~/app/.nival/{file}"));
        let staged = other.machine.shared().join(file);
        fs_err::write(&staged, text).unwrap();
        other.well(&format!("cp {} ~/app/.nival/", staged.display()));
    }
    // No package set at all: what the lock names is fetched from the cache.
    other.well("printf '[catalog]\\nrevisions = []\\n' > ~/.config/nival/config.toml");
    assert_eq!(
        other.well("cd ~/app && nival activate -- jq -n 1+1").trim(),
        "2"
    );
}

#[test]
fn a_lock_whose_activation_was_edited_is_refused_everywhere() {
    require!(root, setup);
    let laptop = Laptop::new();
    laptop.well("cd ~/app && nival install jq && nival lock --check && nival verify");
    let manifest = laptop.well("cat ~/app/.nival/manifest.toml");
    let good = laptop.lock("~/app");
    let edits: [(&str, Value); 3] = [
        ("/hook", "touch /tmp/ran".into()),
        ("/searchPaths/LD_PRELOAD", serde_json::json!(["/tmp/x.so"])),
        ("/searchPaths/PATH", serde_json::json!(["/tmp"])),
    ];
    for (place, value) in edits {
        let mut lock = good.clone();
        let plan = &mut lock["systems"]["x86_64-linux"]["environment"]["activation"];
        let (folder, name) = place.rsplit_once('/').unwrap();
        plan.pointer_mut(folder).unwrap()[name] = value;
        let staged = laptop.machine.shared().join("manifest.lock");
        fs_err::write(&staged, lock.to_string()).unwrap();
        laptop.well(&format!("cp {} ~/app/.nival/", staged.display()));
        for command in [
            "lock --check",
            "verify",
            "activate -- true",
            "activate --print",
            "push demo/app",
        ] {
            laptop.badly(
                &format!("cd ~/app && nival {command}"),
                &["otherwise than the manifest says", "nival lock"],
            );
        }
        laptop.well("test ! -e /tmp/ran");
        laptop.well("cd ~/app && nival lock && nival lock --check && nival activate -- true");
        assert_eq!(laptop.lock("~/app"), good);
        assert_eq!(laptop.well("cat ~/app/.nival/manifest.toml"), manifest);
    }
}

#[test]
fn activate_keeps_what_another_command_changed_while_it_waited() {
    require!(root, setup);
    let laptop = Laptop::new();
    laptop.well("cd ~/app && nival install bash && cp .nival/manifest.toml /tmp/with-bash");
    laptop.well("cd ~/app && nival install jq && cp .nival/manifest.toml /tmp/with-both && cp /tmp/with-bash .nival/manifest.toml");
    // As `install` does: it holds the project, and changes the manifest before it lets go.
    laptop.well(
        "cd ~/app && exec 9>.nival/state/lock && flock 9 && \
         { nival activate -- true 9>&- 2>/tmp/talk & } && activating=$! && \
         for i in $(seq 600); do grep -q locking /tmp/talk && break; sleep 0.1; done && grep locking /tmp/talk && \
         cp /tmp/with-both .nival/manifest.toml && flock -u 9 && wait $activating && \
         cmp .nival/manifest.toml /tmp/with-both && nival lock --check",
    );
}

#[test]
fn a_cache_that_does_not_answer_is_not_written_into_the_lock() {
    require!(root, setup);
    let laptop = Laptop::new();
    let packages = "jq bash coreutils redis python3 numpy";
    let offline = "echo 'substituters = [\"http://127.0.0.1:9\"]' | cat - ~/.config/nival/config.toml > /tmp/config && cp /tmp/config ~/.config/nival/config.toml";
    laptop.well(offline);
    laptop.badly(
        &format!("cd ~/app && nival install {packages}"),
        &[
            "cannot fetch packages of aarch64-linux",
            "unable to download",
            "127.0.0.1:9",
        ],
    );
    laptop.well("test ! -e ~/app/.nival/manifest.lock");
}
