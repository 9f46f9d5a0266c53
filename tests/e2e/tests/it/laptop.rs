//! What a developer meets on the laptop, good and bad.

use testkit::{Failure, Stack, require, setup};

fn refused(stack: &Stack, script: &str) -> String {
    match stack.laptop.shell(script) {
        Ok(text) => panic!("`{script}` was not refused: {text}"),
        Err(Failure::Process(error)) => error.to_string(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn bad_input_is_named_with_its_cause_and_changes_nothing() {
    require!(root, setup, programs);
    let stack = Stack::start().unwrap();
    stack
        .laptop
        .shell("mkdir ~/app && cd ~/app && nival init && nival install bash")
        .unwrap();
    let before = stack
        .laptop
        .shell("cat ~/app/.nival/manifest.toml ~/app/.nival/manifest.lock")
        .unwrap();

    let error = refused(&stack, "cd ~/app && nival install pyhton3");
    assert!(
        error.contains("pyhton3") && error.contains("python3"),
        "{error}"
    );
    let error = refused(&stack, "cd ~/app && nival install conflict-a conflict-b");
    assert!(
        error.contains("conflict-a") && error.contains("conflict-b") && error.contains("bin/clash"),
        "{error}"
    );
    let error = refused(&stack, "cd ~/app && nival install only-x86");
    assert!(
        error.contains("only-x86") && error.contains("aarch64-linux") && error.contains("systems"),
        "{error}"
    );
    let after = stack
        .laptop
        .shell("cat ~/app/.nival/manifest.toml ~/app/.nival/manifest.lock")
        .unwrap();
    assert_eq!(before, after, "a refused change changes nothing");

    let error = refused(&stack, "cd ~/app && nival push demo/app");
    assert!(error.contains("nival key generate"), "{error}");
    stack.make_key().unwrap();
    let error = refused(
        &stack,
        "cd ~/app && nival --hub http://127.0.0.1:9 push demo/app",
    );
    assert!(error.contains("127.0.0.1:9"), "{error}");
    let token = stack.hub.token("demo", &["--expires", "1s"]).unwrap();
    let error = testkit::poll("the token to expire", || {
        let tried = stack.laptop.shell(&format!(
            "cd ~/app && NIVAL_TOKEN={token} nival push demo/app 2>&1 || true"
        ))?;
        Ok(tried.contains("expired").then_some(tried))
    });
    assert!(error.unwrap().contains("token"));
    let error = refused(&stack, "nival generations demo/unknown");
    assert!(error.contains("demo/unknown"), "{error}");
    stack
        .laptop
        .shell("cd ~/app && nival push demo/app --public")
        .unwrap();
    let error = refused(&stack, "nival show demo/app:7");
    assert!(error.contains("demo/app:7"), "{error}");
}

#[test]
fn the_same_lock_gives_the_same_environment_anywhere_and_stock_nix_accepts_it() {
    require!(root, setup, programs);
    let stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    stack.publish("app", "python3 numpy", "--public").unwrap();
    let path = |folder: &str| {
        let text = stack
            .laptop
            .shell(&format!("cat {folder}/.nival/manifest.lock"))
            .unwrap();
        let lock: serde_json::Value = serde_json::from_str(&text).unwrap();
        lock["systems"]["x86_64-linux"]["environment"]["path"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let elsewhere = "mkdir -p /tmp/else/where/.nival && cp ~/app/.nival/manifest.toml /tmp/else/where/.nival/ && cd /tmp/else/where && TZ=Asia/Tokyo USER=somebody nival lock";
    stack.laptop.shell(elsewhere).unwrap();
    let environment = path("/root/app");
    assert_eq!(environment, path("/tmp/else/where"));

    let key = stack.public_key().unwrap();
    let nix = |arguments: &str| {
        let options = format!(
            "--option trusted-public-keys '{key} {}'",
            setup::cache_public_key()
        );
        stack
            .laptop
            .shell(&format!("nix {arguments} {options}"))
            .unwrap()
    };
    let hub = format!("http://{}/cache/demo", testkit::HUB_ADDRESS);
    nix(&format!("copy --from {hub} --to /root/other {environment}"));
    nix(&format!(
        "store verify --recursive --store /root/other {environment}"
    ));
    nix(&format!(
        "store verify --recursive --store {hub} {environment}"
    ));
    let info = nix(&format!(
        "path-info --recursive --store {hub} {environment}"
    ));
    let closure = stack.record("demo/app").unwrap()["systems"]["x86_64-linux"]["closure"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(info.lines().count(), closure);
}
