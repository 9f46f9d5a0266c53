//! An agent as a process on a machine of its own, as far as mounts go.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use api::agent::{
    AgentClient, Credential, CredentialsRequest, PrepareRequest, PrepareResponse, ReleaseRequest,
    StatusRequest, StatusResponse,
};
use fs_err as fs;
use ttrpc::Code;
use ttrpc::context::{self, Context};

use crate::hub::{Hub, TOKEN};

/// How long anything that is waited for may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Hub, agent and the folder they live in.
pub(crate) struct Scene {
    pub(crate) hub: Hub,
    agent: Option<Child>,
    /// Keeps the mount namespace while the agent is restarted.
    holder: Child,
    pub(crate) folder: tempfile::TempDir,
}

impl Scene {
    /// Starts both, with the hub's key trusted and a credential for team-a.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts both; `more` goes before the tables of the agent's configuration.
    pub(crate) async fn start_with(more: &str) -> Self {
        let hub = Hub::start().await;
        let folder = tempfile::Builder::new().prefix("nva").tempdir().unwrap();
        let mut holder = Command::new("unshare");
        holder.args([
            "--mount",
            "--propagation",
            "private",
            "--kill-child",
            "--fork",
        ]);
        let mut holder = holder
            .args(["sh", "-c", "echo; exec sleep infinity"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        use std::io::BufRead as _;
        std::io::BufReader::new(holder.stdout.as_mut().unwrap())
            .read_line(&mut String::new())
            .unwrap();
        let mut scene = Self {
            hub,
            agent: None,
            holder,
            folder,
        };
        fs::write(scene.path("token"), format!("{TOKEN}\n")).unwrap();
        scene.configure(more);
        scene.start_agent().await;
        scene
    }

    pub(crate) fn configure(&self, more: &str) {
        let text = format!(
            "hub = \"http://{}\"\n{more}\n[trust]\ndemo = [\"{}\"]\n\
             [[allow]]\nnamespaces = [\"team-*\"]\nenvironments = [\"demo/*\"]\ncredential = \"demo\"\n\
             [credentials.demo]\ntoken_file = \"{}\"\n",
            self.hub.address,
            self.hub.key.public_key(),
            self.path("token").display()
        );
        fs::write(self.path("agent.toml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.path("state").join(name)
    }

    /// Runs something in the mount namespace of the agent.
    pub(crate) fn inside(&self, program: &str) -> Command {
        let holder = self.holder.id();
        let children =
            fs::read_to_string(format!("/proc/{holder}/task/{holder}/children")).unwrap();
        let mut command = Command::new("nsenter");
        command.args(["--target", children.trim(), "--mount", "--", program]);
        command
    }

    fn agent_command(&self, words: &[&str]) -> Command {
        let mut command = self.inside(env!("CARGO_BIN_EXE_nival-agent"));
        command.args(words);
        for (name, file) in [
            ("--config", "agent.toml"),
            ("--state", "state"),
            ("--socket", "agent.sock"),
        ] {
            command.arg(name).arg(self.path(file));
        }
        command
    }

    pub(crate) async fn start_agent(&mut self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("agent.log"))
            .unwrap();
        let child = self
            .agent_command(&["serve"])
            .env("NIVAL_LOG", "debug")
            .stderr(log.into_file())
            .spawn()
            .unwrap();
        self.agent = Some(child);
        let begun = Instant::now();
        while self.client_now().await.is_none() {
            let ended = self.agent.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < DEADLINE,
                "the agent does not listen: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// Puts the agent's state on a tiny file system.
    pub(crate) fn mount_state(&self, size: &str) {
        let state = self.path("state");
        fs::create_dir_all(&state).unwrap();
        let mut mount = self.inside("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]);
        assert!(mount.arg(&state).status().unwrap().success());
    }

    /// Kills the agent as `kill -9` does.
    pub(crate) fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Ends the agent as a service manager does.
    pub(crate) async fn stop_agent(&mut self) {
        let agent = self.agent.as_mut().unwrap();
        let process = rustix::process::Pid::from_child(agent);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        let begun = Instant::now();
        let status = loop {
            let agent = self.agent.as_mut().unwrap();
            match agent.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(begun.elapsed() < DEADLINE, "it goes on: {}", self.log()),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        self.agent = None;
        assert!(status.success(), "{}", self.log());
    }

    async fn client_now(&self) -> Option<AgentClient> {
        let address = format!("unix://{}", self.path("agent.sock").display());
        ttrpc::r#async::Client::connect(&address)
            .await
            .ok()
            .map(AgentClient::new)
    }

    pub(crate) async fn client(&self) -> AgentClient {
        self.client_now().await.unwrap()
    }

    /// Runs a command of `nival-agent` and returns what it printed.
    pub(crate) fn command(&self, words: &[&str]) -> Result<String, String> {
        let output = self.agent_command(words).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr) + &text(output.stdout))
        }
    }

    /// Runs a program on a folder, and returns what it printed.
    pub(crate) fn command_in(&self, program: &str, words: &[&str], folder: &Path) -> String {
        let output = self
            .inside(program)
            .args(words)
            .arg(folder)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// A request for a container of a namespace; its bundle exists.
    pub(crate) fn request(&self, namespace: &str, reference: &str) -> PrepareRequest {
        let bundle = self.path(&format!("bundle-{namespace}"));
        fs::create_dir_all(&bundle).unwrap();
        PrepareRequest {
            bundle: bundle.display().to_string(),
            sandbox_id: format!("sandbox-{namespace}"),
            namespace: namespace.to_owned(),
            pod: "pod".to_owned(),
            container: "main".to_owned(),
            reference: reference.to_owned(),
            wait_milliseconds: 60_000,
            system: "x86_64-linux".to_owned(),
            ..Default::default()
        }
    }

    pub(crate) async fn prepare(
        &self,
        request: &PrepareRequest,
    ) -> Result<PrepareResponse, (Code, String)> {
        let answer = self.client().await.prepare(patience(), request).await;
        answer.map_err(|error| match error {
            ttrpc::Error::RpcStatus(status) => (status.code(), status.message),
            other => panic!("{other}\n{}", self.log()),
        })
    }

    /// Prepares for a namespace that no rule names.
    pub(crate) async fn start_in_web(
        &self,
        reference: &str,
    ) -> Result<PrepareResponse, (Code, String)> {
        self.prepare(&self.request("web", reference)).await
    }

    /// Asks for a start until a fetch for it is under way, and returns what is said then. On a busy machine the hub's answers may
    /// take longer than somebody waits who does not wait.
    pub(crate) async fn begin_fetching(&self, request: &PrepareRequest) -> String {
        let mut said = String::new();
        let begun = async || {
            let (code, message) = self.prepare(request).await.unwrap_err();
            assert_eq!(code, Code::UNAVAILABLE, "{message}");
            said = message;
            said.starts_with("fetching ")
        };
        self.until("a fetch is under way", begun).await;
        said
    }

    pub(crate) async fn release(&self, bundle: &str) {
        let request = ReleaseRequest {
            bundle: bundle.to_owned(),
            ..Default::default()
        };
        self.client()
            .await
            .release(patience(), &request)
            .await
            .unwrap();
    }

    /// Hands these tokens over, as the agent's neighbour does.
    pub(crate) async fn hand_over(&self, tokens: &[(&str, &str)]) -> Result<(), (Code, String)> {
        let credential = |(name, token): &(&str, &str)| Credential {
            name: (*name).to_owned(),
            token: (*token).to_owned(),
            ..Default::default()
        };
        let request = CredentialsRequest {
            credentials: tokens.iter().map(credential).collect(),
            ..Default::default()
        };
        let answer = self.client().await.credentials(patience(), &request).await;
        answer.map(drop).map_err(|error| match error {
            ttrpc::Error::RpcStatus(status) => (status.code(), status.message),
            other => panic!("{other}\n{}", self.log()),
        })
    }

    pub(crate) async fn status(&self) -> StatusResponse {
        self.client()
            .await
            .status(patience(), &StatusRequest::default())
            .await
            .unwrap()
    }

    /// Looks until an agent answers that began after this one, in the same process.
    pub(crate) async fn until_begun_after(&self, instance: &str) {
        let request = StatusRequest::default();
        let process = self.agent.as_ref().unwrap().id();
        let has_begun = async || {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
            assert!(!status.contains("State:\tZ"), "it ended: {}", self.log());
            match self.client_now().await {
                Some(client) => match client.status(patience(), &request).await {
                    Ok(status) => status.instance != instance,
                    Err(_) => false,
                },
                None => false,
            }
        };
        self.until("the agent has begun anew", has_begun).await;
    }

    /// Reads a file as the agent's mount namespace has it.
    pub(crate) fn read(&self, path: &Path) -> Result<String, String> {
        let output = self.inside("cat").arg(path).output().unwrap();
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(String::from_utf8(output.stderr).unwrap())
    }

    /// Looks until no temporary file of the store is left.
    pub(crate) async fn until_nothing_is_unfinished(&self) {
        let folder = self.state("store/tmp");
        let is_empty = async || fs::read_dir(&folder).unwrap().next().is_none();
        self.until("nothing unfinished is left", is_empty).await;
    }

    /// Looks until something holds.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let begun = Instant::now();
        while !holds().await {
            assert!(
                begun.elapsed() < DEADLINE,
                "waited in vain until {what}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for child in self.agent.iter_mut().chain([&mut self.holder]) {
            // They may be dead already; then there is nothing to end.
            child.kill().and_then(|()| child.wait()).ok();
        }
        if std::thread::panicking() {
            // Beside the panic's own message.
            std::io::Write::write_all(&mut std::io::stderr(), self.log().as_bytes()).ok();
        }
    }
}

fn patience() -> Context {
    context::with_duration(DEADLINE)
}
