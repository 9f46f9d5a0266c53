//! Sockets inside a world's network, used from the test's own process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::thread::LinkNameSpaceType;

use crate::holder::{Holder, hold};
use crate::{Failure, setup};

/// How long a peer may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A network namespace with a loopback interface, and whatever is plugged in later.
#[derive(Debug)]
pub(crate) struct Network {
    _holder: Holder,
    process: u32,
}

impl Network {
    pub(crate) fn new() -> Result<Self, Failure> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--kill-child=SIGKILL", "--fork", "sh", "-c"]);
        // Not every Debian has `ip`; the set-up has a busybox.
        command.arg("ip link set lo up 2>/dev/null || \"$0\" ip link set lo up; echo ready; exec sleep infinity");
        command.arg(setup::dir().join("bin/busybox"));
        let holder = hold(&command)?;
        let process = holder.inside()?;
        Ok(Self {
            _holder: holder,
            process,
        })
    }

    /// Returns the process that keeps it alive.
    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// Returns the namespace's file.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.process))
    }

    /// Returns the start of a command that runs in it, and sees everything else of the host.
    pub(crate) fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display()));
        command
    }
}

/// Does some work on a thread that sees another network: a network belongs to a thread, not to the process.
pub(crate) fn inside<T: Send>(
    namespace: &Path,
    work: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    let enter_and_work = || {
        let file = fs_err::File::open(namespace)?;
        rustix::thread::move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(std::io::Error::from)?;
        work()
    };
    std::thread::scope(|scope| {
        scope
            .spawn(enter_and_work)
            .join()
            .map_err(|_| Failure::Text("a network thread panicked".to_owned()))?
    })
}

/// Stands in for every image registry: counts who asks, and has nothing.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    asked: Arc<AtomicU64>,
}

impl Registry {
    pub(crate) fn start(namespace: &Path) -> Result<Self, Failure> {
        let listener = inside(namespace, || Ok(TcpListener::bind("0.0.0.0:0")?))?;
        // Nodes with networks of their own reach it by another address than those in this one.
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr()?.port()));
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        // It ends with the process: a blocking accept cannot be woken, and nothing depends on its end.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let answer =
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                // Whoever asks and hangs up has been counted, which is all that matters.
                stream.set_read_timeout(Some(PATIENCE)).ok();
                read_head(&mut stream)
                    .and_then(|_| Ok(stream.write_all(answer)?))
                    .ok();
            }
        });
        Ok(Self { address, asked })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many connections came.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn read_head(stream: &mut TcpStream) -> Result<(), Failure> {
    let mut reader = BufReader::new(stream.take(16 << 10));
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    Ok(())
}

/// Gets a page inside a network and returns status and body.
pub(crate) fn get(namespace: &Path, address: &str, path: &str) -> Result<(u16, String), Failure> {
    inside(namespace, || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| Failure::Text(format!("no HTTP answer: {head:?}")))?;
        Ok((status, body.to_owned()))
    })
}
