//! What an environment's hook and variables mean for its pod.

use testkit::{PLACEHOLDER, PodSpec, Stack, require};

const MANIFEST: &str = r#"version = 1
[vars]
LEVEL = "info"
DATA = "${HOME}/data"

[hook]
on-activate = """
echo preparing
export GREETING="hello from $(command -v bash)"
case "$LEVEL" in broken) echo "no database at $DATA" >&2; exit 9;; esac
"""

[options]
systems = ["x86_64-linux"]
"#;

fn stack() -> Stack {
    let stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    let script = format!(
        "mkdir -p ~/app && cd ~/app && nival init >&2 && cat > .nival/manifest.toml <<'END'\n{MANIFEST}END\nnival install bash coreutils >&2 && nival push demo/app --public >&2"
    );
    stack.laptop.shell(&script).unwrap();
    stack
}

#[test]
fn a_hook_runs_before_the_command_and_exec_has_what_it_left() {
    require!(root, setup, programs);
    let stack = stack();
    let node = stack.node("node", "").unwrap();
    let pod = node
        .run_pod(&PodSpec::with_environment("app", "demo/app"))
        .unwrap();
    let script = "echo $LEVEL $DATA; echo $GREETING";
    let (code, text) = pod
        .run_to_end("main", PLACEHOLDER, &["sh", "-c", script])
        .unwrap();
    assert_eq!(code, 0, "{text}");
    for wanted in [
        "info /root/data
",
        "hello from /nix/store/",
    ] {
        assert!(text.contains(wanted), "{wanted:?} in {text}");
    }

    let container = pod
        .container("sleeps", PLACEHOLDER, &["sleep", "600"])
        .unwrap();
    let text = pod
        .exec(&container, &["sh", "-c", "echo $LEVEL; echo $GREETING"])
        .unwrap();
    assert!(text.starts_with("info\nhello from /nix/store/"), "{text}");
    pod.remove().unwrap();
}

#[test]
fn a_hook_that_fails_is_told_in_one_line_with_its_last_words() {
    require!(root, setup, programs);
    let stack = stack();
    let node = stack.node("node", "").unwrap();
    stack
        .laptop
        .shell("cd ~/app && sed -i 's/LEVEL = \"info\"/LEVEL = \"broken\"/' .nival/manifest.toml && nival lock >&2 && nival push >&2")
        .unwrap();
    let pod = node
        .run_pod(&PodSpec::with_environment("app", "demo/app"))
        .unwrap();
    let error = pod
        .container("main", PLACEHOLDER, &["true"])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the on-activate hook of demo/app:2@sha256:"),
        "{error}"
    );
    assert!(
        error.contains("failed with status 9: preparing no database at /root/data"),
        "{error}"
    );
    pod.remove().unwrap();
}
