//! Containers from environments, with an agent that answers as a test wants.

use std::path::Path;

use api::agent::{PrepareResponse, SearchPath, Variable};
use fs_err as fs;
use protobuf::well_known_types::any::Any;
use serde_json::json;
use testkit::require;
use ttrpc::Code;

use crate::agent::TestAgent;
use crate::bundle::{Bundle, install_busybox};
use crate::containerd::Containerd;
use crate::shim::Shim;

const STORE_PATH: &str = "/nix/store/00000000000000000000000000000000-tools";

pub(crate) fn pod(kind: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        ("io.kubernetes.cri.container-type", kind),
        ("io.kubernetes.cri.sandbox-id", "sandbox"),
        ("io.kubernetes.cri.sandbox-namespace", "team-a"),
        ("io.kubernetes.cri.sandbox-name", "pod-1"),
        ("io.kubernetes.cri.container-name", "main"),
        ("io.kubernetes.cri.image-name", "nival.dev/placeholder:v1"),
        ("nival.dev/environment", "acme/tools"),
    ]
}

/// A closure of one path with busybox, and a plan for it.
pub(crate) fn plan(containerd: &Containerd) -> PrepareResponse {
    let mount = containerd.path("closure");
    let bin = mount
        .join(Path::new(STORE_PATH).file_name().unwrap())
        .join("bin");
    fs::create_dir_all(&bin).unwrap();
    install_busybox(&bin);
    let variable = |name: &str, value: &str| Variable {
        name: name.into(),
        value: value.into(),
        ..Variable::default()
    };
    PrepareResponse {
        pin: "acme/tools:1@sha256:0".into(),
        environment: STORE_PATH.into(),
        mount_source: mount.display().to_string(),
        variables: vec![variable("NIVAL_ENV", STORE_PATH), variable("LEVEL", "info")],
        search_paths: vec![SearchPath {
            name: "PATH".into(),
            entries: vec![format!("{STORE_PATH}/bin")],
            ..SearchPath::default()
        }],
        shell: format!("{STORE_PATH}/bin/sh"),
        env_program: format!("{STORE_PATH}/bin/env"),
        ..PrepareResponse::default()
    }
}

/// The options of a runtime type that the CRI does not know: a text in TOML.
pub(crate) fn options(shim: &Shim, socket: &Path) -> Any {
    let body = format!("Root = {:?}\nAgentSocket = {socket:?}\n", shim.options.root);
    let mut value = vec![0x1a];
    let mut length = body.len();
    while length >= 0x80 {
        value.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    value.push(u8::try_from(length).unwrap());
    value.extend_from_slice(body.as_bytes());
    Any {
        type_url: "runtimeoptions.v1.Options".into(),
        value,
        ..Any::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_the_placeholder_sees_its_closure_and_cannot_write_to_it() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let agent = TestAgent::start(containerd.folder.path(), Ok(plan(&containerd))).await;
    let script = "ls /nix/store; touch /nix/store/x; cd /nix/store/*/bin; touch deep; echo $PATH $LEVEL; /bin/sh -c id; cat /etc/passwd; touch /tmp/mine && ls -ld /tmp; sleep 600";
    let bundle = Bundle::empty(&containerd, "placeholder", &["sh", "-c", script])
        .annotated(&pod("container"))
        .changed(|spec| {
            spec["process"]["user"] = json!({"uid": 1234, "gid": 77});
            spec["root"]["readonly"] = json!(true);
            let tmp = json!({"type": "tmpfs", "source": "tmpfs", "destination": "/tmp", "options": ["mode=1777"]});
            spec["mounts"].as_array_mut().unwrap().push(tmp);
        });
    bundle.make_pipe("exec-stdout");
    let (mut stdout, mut stderr) = (bundle.reader("stdout"), bundle.reader("stderr"));
    let mut exec_stdout = bundle.reader("exec-stdout");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create_with(&bundle, options(&shim, &agent.socket))
        .await
        .unwrap();
    {
        let asked = agent.asked();
        let request = &asked.prepared[0];
        let who = (
            request.namespace.as_str(),
            request.pod.as_str(),
            request.container.as_str(),
        );
        assert_eq!(who, ("team-a", "pod-1", "main"));
        assert_eq!(request.bundle, bundle.path.display().to_string());
        assert_eq!(
            (request.reference.as_str(), request.container_id.as_str()),
            ("acme/tools", bundle.id.as_str())
        );
    }
    shim.start(&bundle.id, "").await.unwrap();
    let text = stdout.expect("drwxrwxrwt").await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "00000000000000000000000000000000-tools");
    assert_eq!(lines[1], format!("{STORE_PATH}/bin:/bin info"));
    assert_eq!(lines[2], "uid=1234(nival) gid=77(nival)");
    assert!(text.contains("nival:x:1234:77:"), "{text}");
    let refused = stderr.expect("deep").await;
    assert_eq!(
        refused.matches("Read-only file system").count(),
        2,
        "{refused}"
    );

    let process = json!({"args": ["env"], "cwd": "/", "env": ["PATH=/bin", "LEVEL=debug"], "user": {"uid": 0, "gid": 0}});
    shim.exec(&bundle, "exec", &process).await.unwrap();
    shim.start(&bundle.id, "exec").await.unwrap();
    let text = exec_stdout.expect("NIVAL_ENV=").await;
    assert!(
        text.contains("PATH=/nix/store/") && text.contains("LEVEL=debug\n"),
        "{text}"
    );

    shim.kill(&bundle.id, "", 9).await.unwrap();
    shim.wait(&bundle.id, "").await;
    shim.delete(&bundle.id, "").await.unwrap();
    agent.is_asked_to_release(&bundle).await;
    assert_eq!(agent.asked().released.len(), 1);
    shim.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_agent_a_pod_fails_closed_and_says_what_to_do() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    for kind in ["sandbox", "container"] {
        let bundle = Bundle::new(&containerd, kind, "true").annotated(&pod(kind));
        let _log = bundle.log();
        let shim = containerd.shim(&bundle).await;
        let socket = containerd.path("nobody.sock");
        let error = shim
            .create_with(&bundle, options(&shim, &socket))
            .await
            .unwrap_err();
        assert_eq!(
            error,
            format!(
                "nival-agent is not running on this node: cannot connect to {}: No such file or directory (os error 2); start it, then the pod is tried again",
                socket.display()
            )
        );
        shim.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_waits_for_every_environment_of_its_pod() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let agent = TestAgent::start(containerd.folder.path(), Ok(plan(&containerd))).await;
    let bundle = Bundle::new(&containerd, "sandbox", "sleep 600")
        .annotated(&pod("sandbox"))
        .annotated(&[
            ("environment.nival.dev/web", "acme/web"),
            ("environment.nival.dev/same", "acme/tools"),
            ("environment.nival.dev/plain", "none"),
        ]);
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create_with(&bundle, options(&shim, &agent.socket))
        .await
        .unwrap();
    let mut asked: Vec<String> = agent
        .asked()
        .prepared
        .iter()
        .map(|request| request.reference.clone())
        .collect();
    asked.sort();
    assert_eq!(asked, ["acme/tools", "acme/web"]);
    let waits = agent.asked().prepared[0].wait_milliseconds;
    assert!(
        (1_000..20_000).contains(&waits),
        "less than containerd waits: {waits}"
    );
    let spec = fs::read_to_string(bundle.path.join("config.json")).unwrap();
    assert!(
        !spec.contains("/nix/store"),
        "the sandbox itself runs as it is"
    );
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_refusal_reaches_containerd_in_one_line_and_nothing_is_left() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let refusal =
        "environment acme/tools:7 is not signed by a trusted key (have: other-1);\nadd the key";
    let answer = Err((Code::FAILED_PRECONDITION, refusal.to_owned()));
    let agent = TestAgent::start(containerd.folder.path(), answer).await;
    let bundle = Bundle::new(&containerd, "refused", "true").annotated(&pod("container"));
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    let error = shim
        .create_with(&bundle, options(&shim, &agent.socket))
        .await
        .unwrap_err();
    assert_eq!(error, refusal.replace('\n', " "));
    agent.is_asked_to_release(&bundle).await;
    assert_eq!(agent.asked().released.len(), 1);
    shim.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_annotations_are_refused_by_name_before_the_agent_is_asked() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let agent = TestAgent::start(containerd.folder.path(), Ok(plan(&containerd))).await;
    let long = "a/".repeat(100_000);
    for (number, value) in ["acme/tools\nacme/web", "../..", long.as_str()]
        .into_iter()
        .enumerate()
    {
        let bundle = Bundle::new(&containerd, &format!("hostile{number}"), "true")
            .annotated(&pod("sandbox"))
            .annotated(&[("nival.dev/environment", value)]);
        let _log = bundle.log();
        let shim = containerd.shim(&bundle).await;
        let error = shim
            .create_with(&bundle, options(&shim, &agent.socket))
            .await
            .unwrap_err();
        assert!(
            error.contains("nival.dev/environment") && error.len() < 1000,
            "{error}"
        );
        shim.shut_down().await;
    }
    assert!(agent.asked().prepared.is_empty());
}

/// A container that sees the machine's own programs, for a hook that needs bash.
pub(crate) fn hooked(containerd: &Containerd, name: &str, command: &[&str]) -> Bundle {
    Bundle::empty(containerd, name, command).annotated(&pod("container")).changed(|spec| {
        for folder in ["/usr", "/lib", "/lib64", "/bin"] {
            if Path::new(folder).exists() {
                let mount = json!({"type": "bind", "source": folder, "destination": folder, "options": ["rbind", "ro"]});
                spec["mounts"].as_array_mut().unwrap().push(mount);
            }
        }
        spec["process"]["env"] = json!(["PATH=/usr/bin:/bin", "GONE=1"]);
        spec["process"]["user"] = json!({"uid": 1234, "gid": 77});
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_runs_first_as_the_containers_user_and_leaves_its_variables() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let hook = "echo noise\nexport READY=\"yes $(id -u)\"\nunset GONE\nPATH=$PATH:/left\ncd /tmp\n";
    let plan = PrepareResponse {
        hook: hook.into(),
        shell: "/usr/bin/bash".into(),
        ..plan(&containerd)
    };
    let agent = TestAgent::start(containerd.folder.path(), Ok(plan)).await;
    let script = "echo $$ $READY ${GONE-unset} $(pwd); sleep 600";
    let bundle = hooked(&containerd, "hook", &["sh", "-c", script]);
    bundle.make_pipe("exec-stdout");
    let (mut stdout, mut stderr) = (bundle.reader("stdout"), bundle.reader("stderr"));
    let mut exec_stdout = bundle.reader("exec-stdout");
    let _log = bundle.log();
    let shim = containerd.shim(&bundle).await;
    shim.create_with(&bundle, options(&shim, &agent.socket))
        .await
        .unwrap();
    shim.start(&bundle.id, "").await.unwrap();
    let text = stdout.expect("\n").await;
    assert_eq!(text, "1 yes 1234 unset /\n");
    assert_eq!(stderr.expect("noise").await, "noise\n");

    let process = json!({"args": ["env"], "cwd": "/", "env": ["PATH=/usr/bin:/bin", "GONE=1"], "user": {"uid": 0, "gid": 0}});
    shim.exec(&bundle, "exec", &process).await.unwrap();
    shim.start(&bundle.id, "exec").await.unwrap();
    shim.wait(&bundle.id, "exec").await;
    let text = exec_stdout.expect("READY=yes 1234\n").await;
    assert!(
        !text.contains("GONE") && text.contains(":/left\n"),
        "{text}"
    );
    shim.kill(&bundle.id, "", 9).await.unwrap();
    shim.wait(&bundle.id, "").await;
    shim.delete(&bundle.id, "").await.unwrap();
    shim.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_fails_the_start_with_its_last_lines() {
    require!(root, setup);
    let containerd = Containerd::start().await;
    let cases = [
        (
            "failing",
            "echo no database >&2; false",
            "true",
            "failed with status 1: no database",
        ),
        ("leaving", "exit 5", "true", "failed with status 5"),
        (
            "lost",
            "true",
            "no-such-program",
            "exec: \"no-such-program\": executable file not found in $PATH",
        ),
    ];
    for (name, hook, command, wanted) in cases {
        let folder = containerd.path(&format!("agent-{name}"));
        fs::create_dir_all(&folder).unwrap();
        let closure = containerd.path("closure");
        if closure.exists() {
            fs::remove_dir_all(closure).unwrap();
        }
        let plan = PrepareResponse {
            hook: hook.into(),
            shell: "/usr/bin/bash".into(),
            ..plan(&containerd)
        };
        let agent = TestAgent::start(&folder, Ok(plan)).await;
        let bundle = hooked(&containerd, name, &[command]);
        let _log = bundle.log();
        let shim = containerd.shim(&bundle).await;
        shim.create_with(&bundle, options(&shim, &agent.socket))
            .await
            .unwrap();
        let error = shim.start(&bundle.id, "").await.unwrap_err();
        assert!(error.contains(wanted), "{error}");
        assert_ne!(shim.wait(&bundle.id, "").await, 0);
        shim.delete(&bundle.id, "").await.unwrap();
        shim.shut_down().await;
    }
}
