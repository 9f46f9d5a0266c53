//! A pod whose shim's file was replaced while it runs.

use api::agent::PrepareResponse;
use fs_err as fs;
use testkit::require;

use crate::agent::TestAgent;
use crate::containerd::Containerd;
use crate::environments::{hooked, options, plan};

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_in_the_containers_of_a_shim_whose_file_was_replaced_or_removed() {
    require!(root, setup);
    let mut containerd = Containerd::start().await;
    let program = containerd.path("containerd-shim-nival-v2");
    fs::copy(&containerd.program, &program).unwrap();
    containerd.program = program.clone();
    let plan = PrepareResponse {
        hook: "export READY=yes".into(),
        shell: "/usr/bin/bash".into(),
        ..plan(&containerd)
    };
    let agent = TestAgent::start(containerd.folder.path(), Ok(plan)).await;
    let command = ["sh", "-c", "echo ready: $READY"];
    let first = hooked(&containerd, "before", &command);
    let second = hooked(&containerd, "replaced", &command);
    let third = hooked(&containerd, "removed", &command);
    let _logs = (first.log(), second.log(), third.log());
    let shim = containerd.shim(&first).await;
    for (number, bundle) in [&first, &second, &third].into_iter().enumerate() {
        if number == 1 {
            // As an installer does: the new file takes the old one's name in one step.
            let new = containerd.path("new");
            fs::copy("/bin/false", &new).unwrap();
            fs::rename(&new, &program).unwrap();
        }
        if number == 2 {
            fs::remove_file(&program).unwrap();
        }
        let mut stdout = bundle.reader("stdout");
        let options = options(&shim, &agent.socket);
        shim.create_with(bundle, options).await.unwrap();
        shim.start(&bundle.id, "").await.unwrap();
        stdout.expect("ready: yes\n").await;
        assert_eq!(shim.wait(&bundle.id, "").await, 0);
        shim.delete(&bundle.id, "").await.unwrap();
    }
    shim.shut_down().await;
}
