//! A running `nival-hub` with a folder of its own, on a free port.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::hub::HubClient;
use tempfile::TempDir;

/// The hub. It is killed when this goes; a failing test keeps its folder and says where.
#[derive(Debug)]
pub(crate) struct Hub {
    child: Child,
    folder: Option<TempDir>,
    disk: Disk,
    address: String,
    arguments: Vec<String>,
}

/// Where the hub's objects lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Ordinary,
    Small,
}

/// Mounts a small disk where only the hub sees it, and becomes the hub.
const SMALL_DISK: &str = r#"mount -t tmpfs -o size=8m tmpfs "$1" && shift && exec "$@""#;

/// An answer to a raw request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

impl Hub {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_on(Disk::Ordinary, arguments)
    }

    /// Starts it with its objects on a disk of 8 MiB; needs root.
    pub(crate) fn start_on_small_disk() -> Self {
        Self::start_on(Disk::Small, &[])
    }

    fn start_on(disk: Disk, arguments: &[&str]) -> Self {
        host::tls::install();
        let folder = tempfile::Builder::new()
            .prefix("nival-hub-")
            .tempdir()
            .unwrap();
        let arguments: Vec<String> = arguments.iter().map(|&one| one.to_owned()).collect();
        let (child, address) = spawn(folder.path(), disk, &arguments);
        Self {
            child,
            folder: Some(folder),
            disk,
            address,
            arguments,
        }
    }

    /// Starts it again on the same data.
    pub(crate) fn restart(&mut self) {
        let (child, address) = spawn(self.folder(), self.disk, &self.arguments);
        self.child = child;
        self.address = address;
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and returns whether it ended well.
    pub(crate) fn stop(&mut self) -> bool {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let child = &mut self.child;
        testkit::poll("the hub to stop", || Ok(child.try_wait()?))
            .unwrap()
            .success()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    pub(crate) fn objects(&self) -> PathBuf {
        let objects = self.data().join("objects");
        match self.disk {
            Disk::Ordinary => objects,
            Disk::Small => {
                let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
                root.join(objects.strip_prefix("/").unwrap())
            }
        }
    }

    pub(crate) fn log(&self) -> String {
        fs_err::read_to_string(self.folder().join("log")).unwrap()
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs another command of the program on the same data.
    pub(crate) fn command(&self, words: &[&str]) -> Result<String, String> {
        let mut command = program(self.folder());
        let output = command.args(words).output().unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8(output.stderr).unwrap())
        }
    }

    pub(crate) fn token(&self, owner: &str, more: &[&str]) -> String {
        let words = [&["token", "create", "--owner", owner], more].concat();
        self.command(&words).unwrap().trim().to_owned()
    }

    pub(crate) fn client(&self, token: Option<&str>) -> HubClient {
        let http = reqwest::Client::new();
        HubClient::new(&self.url(), token.map(ToOwned::to_owned), http).unwrap()
    }

    /// A client that may push as this owner.
    pub(crate) fn pusher(&self, owner: &str) -> HubClient {
        self.client(Some(&self.token(owner, &[])))
    }

    /// Sends a request byte for byte, and reads the answer to its end.
    pub(crate) fn raw(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let length = format!(
            "host: hub\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(length.as_bytes()).unwrap();
        // A server that refuses early may close before it has read all; its answer is there all the same.
        let _sent = stream.write_all(body);
        let mut bytes = Vec::new();
        let _closed = stream.read_to_end(&mut bytes);
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("an answer");
        let headers = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub(crate) fn get(&self, path: &str, token: Option<&str>, more: &str) -> Answer {
        self.ask("GET", path, token, more, b"")
    }

    pub(crate) fn put(&self, path: &str, token: &str, body: &[u8]) -> Answer {
        self.ask("PUT", path, Some(token), "", body)
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        more: &str,
        body: &[u8],
    ) -> Answer {
        let token = token.map_or(String::new(), |token| {
            format!("authorization: Bearer {token}\r\n")
        });
        self.raw(&format!("{method} {path} HTTP/1.1\r\n{token}{more}"), body)
    }

    /// Returns a counter's value.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let page = self.get("/metrics", None, "").text();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {page}"))
            .parse()
            .unwrap()
    }

    /// Returns the files below the object store, relative to it, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.objects()];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let path = path.strip_prefix(self.objects()).unwrap();
                    found.push(path.to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Hub {
    #[expect(
        clippy::print_stderr,
        reason = "a failing test says where it left its folder"
    )]
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("the hub's folder is kept: {}", folder.keep().display());
        }
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {:?}", self.text()));
        body["code"].as_str().unwrap().to_owned()
    }
}

/// Returns the program with nothing of the machine's own configuration.
pub(crate) fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nival-hub"));
    clean(&mut command, folder);
    command
}

fn clean(command: &mut Command, folder: &Path) {
    command
        .env_clear()
        .env("HOME", folder)
        .env("NIVAL_HUB_DATA", folder.join("data"));
}

fn server(folder: &Path, disk: Disk) -> Command {
    match disk {
        Disk::Ordinary => program(folder),
        Disk::Small => {
            let objects = folder.join("data/objects");
            fs_err::create_dir_all(&objects).unwrap();
            let alone = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            fs_err::set_permissions(folder.join("data"), alone).unwrap();
            let mut command = Command::new("/usr/bin/unshare");
            command.args(["--mount", "/bin/sh", "-c", SMALL_DISK, "sh"]);
            command.arg(objects).arg(env!("CARGO_BIN_EXE_nival-hub"));
            clean(&mut command, folder);
            command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            command
        }
    }
}

fn spawn(folder: &Path, disk: Disk, arguments: &[String]) -> (Child, String) {
    let file = folder.join("address");
    if file.exists() {
        fs_err::remove_file(&file).unwrap();
    }
    let log = folder.join("log");
    let log = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .unwrap()
        .into_parts()
        .0;
    let mut child = server(folder, disk)
        .args(["serve", "--listen", "127.0.0.1:0", "--listen-file"])
        .arg(&file)
        .args(arguments)
        .env("NIVAL_LOG", "hub=debug,info")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let address = testkit::poll("the hub to listen", || {
        if let Some(status) = child.try_wait()? {
            let log = fs_err::read_to_string(folder.join("log"))?;
            return Err(testkit::Failure::Text(format!(
                "the hub ended with {status}: {log}"
            )));
        }
        Ok(fs_err::read_to_string(&file)
            .ok()
            .filter(|text| text.ends_with('\n')))
    });
    (child, address.unwrap().trim().to_owned())
}
