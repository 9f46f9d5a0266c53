//! The first process of a container whose environment has a hook: runs the hook, then becomes the command.
//!
//! It is the shim's own program under another name, bound read-only into the container, and runs as the container's
//! user with the container's variables. Nothing here is privileged.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::error::flatten;
use crate::hook::{END, HOOK, REPORT, Report, SHELL};
use crate::spec::{HOOK_FOLDER, INIT};

/// Prints the variables that it was started with.
const DUMP: &str = "--variables";
/// Copies standard input to standard error.
const RELAY: &str = "--relay";

/// Sources the hook, then prints the variables that it left. The hook talks on standard error, so that the
/// container's output is the command's alone.
const SCRIPT: &str = "exec 3>&1 1>&2\n. \"$1\" || exit\nexec 1>&3 3>&-\nexec \"$2\" --variables";

/// How much of the hook's last words is kept.
const LAST_WORDS: usize = 2048;
/// How long the end of the hook's output is waited for.
const QUIET: Duration = Duration::from_millis(200);
/// Variables that every shell changes on its own.
const SHELLS_OWN: [&str; 4] = ["_", "SHLVL", "PWD", "OLDPWD"];

const NOT_FOUND: u8 = 127;

/// Runs as the container's init, with the command as its arguments.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    match arguments.first().map(|argument| argument.as_bytes()) {
        Some(first) if first == DUMP.as_bytes() => dump(),
        Some(first) if first == RELAY.as_bytes() => relay(),
        _ => hook_then(arguments),
    }
}

fn hook_then(command: &[OsString]) -> ExitCode {
    let folder = Path::new(HOOK_FOLDER);
    let hook = match run_hook(folder) {
        Ok(hook) => hook,
        Err(message) => {
            return give_up(folder, &Report::Command { message }, 126);
        }
    };
    let variables = match hook.end {
        End::Left(variables) => variables,
        End::Failed(status) => {
            let lines = hook.words.last_lines();
            let code = u8::try_from(status).unwrap_or(1);
            return give_up(folder, &Report::Failed { status, lines }, code);
        }
    };
    let program = match find(command, &variables) {
        Ok(program) => program,
        Err(message) => return give_up(folder, &Report::Command { message }, NOT_FOUND),
    };
    report(folder, &changes(&variables));
    // Holding the lock, no word of a background process of the hook is lost between its reader and the next one.
    let _words = hook.words.hand_over();
    let error = Command::new(&program)
        .arg0(command.first().map_or(OsStr::new(""), OsString::as_os_str))
        .args(command.iter().skip(1))
        .env_clear()
        .envs(&variables)
        .exec();
    say(&format!("cannot run {}: {error}", program.display()));
    ExitCode::from(126)
}

type Variables = BTreeMap<OsString, OsString>;

enum End {
    Left(Variables),
    Failed(i32),
}

struct Hook {
    end: End,
    words: Words,
}

fn run_hook(folder: &Path) -> Result<Hook, String> {
    let shell = fs::read_to_string(folder.join(SHELL)).map_err(|error| error.to_string())?;
    let mut child = Command::new(&shell)
        .args(["--noprofile", "--norc", "-c", SCRIPT, "on-activate"])
        .arg(folder.join(HOOK))
        .arg(INIT)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run {shell} for the on-activate hook: {error}"))?;
    let words = Words::listen(child.stderr.take());
    let mut output = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        let mut buffer = [0; 4096];
        // Up to the empty text that ends the variables: a background process may hold the pipe open for ever.
        while !is_complete(&output) {
            match stdout.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => output.extend_from_slice(&buffer[..count]),
            }
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    words.wait_until_quiet();
    let end = if status.success() && is_complete(&output) {
        End::Left(parse(&output))
    } else {
        let code = status.code().or(status.signal().map(|signal| 128 + signal));
        // A hook that leaves by `exit 0` has left the container without a command.
        End::Failed(code.filter(|code| *code != 0).unwrap_or(1))
    };
    Ok(Hook { end, words })
}

fn is_complete(output: &[u8]) -> bool {
    output == [0] || output.ends_with(&[0, 0])
}

fn parse(output: &[u8]) -> Variables {
    output
        .split(|byte| *byte == 0)
        .filter_map(|variable| {
            let equals = variable.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&variable[..equals], &variable[equals + 1..]);
            let own = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            (!name.is_empty()).then(|| (own(name), own(value)))
        })
        .filter(|(name, _)| name != "_")
        .collect()
}

fn dump() -> ExitCode {
    let mut bytes = Vec::new();
    for (name, value) in std::env::vars_os() {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
    }
    bytes.push(0);
    match std::io::stdout().write_all(&bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn relay() -> ExitCode {
    match std::io::copy(&mut std::io::stdin(), &mut std::io::stderr()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn changes(after: &Variables) -> Report {
    let before: Variables = std::env::vars_os().collect();
    let text = |value: &OsStr| value.to_string_lossy().into_owned();
    let own = |name: &&OsString| !SHELLS_OWN.iter().any(|own| *own == name.as_os_str());
    let set = after
        .iter()
        .filter(|(name, value)| own(name) && before.get(*name) != Some(value))
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    let removed = before
        .keys()
        .filter(|name| own(name) && !after.contains_key(*name))
        .map(|name| text(name))
        .collect();
    Report::Ready { set, removed }
}

/// Finds a program as `execvp` does, with the variables that the hook left.
fn find(command: &[OsString], variables: &Variables) -> Result<PathBuf, String> {
    let Some(program) = command.first() else {
        return Err("the container has no command".to_owned());
    };
    let runnable = |path: &Path| {
        fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return if runnable(&path) {
            Ok(path)
        } else {
            Err(format!(
                "exec: {:?}: no such file or directory",
                program.to_string_lossy()
            ))
        };
    }
    let path = variables.get(OsStr::new("PATH"));
    path.into_iter()
        .flat_map(std::env::split_paths)
        .map(|folder| folder.join(program))
        .find(|path| runnable(path))
        .ok_or_else(|| {
            format!(
                "exec: {:?}: executable file not found in $PATH",
                program.to_string_lossy()
            )
        })
}

fn report(folder: &Path, report: &Report) {
    let mut bytes = serde_json::to_vec(report).unwrap_or_default();
    bytes.push(END);
    let pipe = fs::OpenOptions::new().write(true).open(folder.join(REPORT));
    if let Err(error) = pipe.and_then(|mut pipe| pipe.write_all(&bytes)) {
        say(&error.to_string());
    }
}

fn give_up(folder: &Path, why: &Report, code: u8) -> ExitCode {
    report(folder, why);
    match why {
        Report::Failed { status, .. } => {
            say(&format!("the on-activate hook failed with status {status}"));
        }
        Report::Command { message } => say(message),
        Report::Ready { .. } => {}
    }
    ExitCode::from(code)
}

fn say(message: &str) {
    // Nobody is left to tell when standard error is closed.
    writeln!(std::io::stderr(), "nival: {message}").ok();
}

/// The hook's standard error: passed on as it comes, its last lines kept.
struct Words {
    pipe: Option<Arc<ChildStderr>>,
    last: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Words {
    fn listen(pipe: Option<ChildStderr>) -> Self {
        let last = Arc::new(Mutex::new(Vec::new()));
        let pipe = pipe.map(Arc::new);
        let reader = pipe.clone().map(|pipe| {
            let last = last.clone();
            std::thread::spawn(move || pass_on(&pipe, &last))
        });
        Self { pipe, last, reader }
    }

    fn is_silent(&self) -> bool {
        self.reader
            .as_ref()
            .is_none_or(std::thread::JoinHandle::is_finished)
    }

    /// Waits for the end of the output, but not for background processes, which may write for ever.
    fn wait_until_quiet(&self) {
        let start = Instant::now();
        while !self.is_silent() && start.elapsed() < QUIET {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn last_lines(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        flatten(&String::from_utf8_lossy(&last))
    }

    /// Lets another process pass on what background processes still write, as this one becomes the command.
    fn hand_over(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        let guard = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_silent()
            && let Some(pipe) = &self.pipe
            && let Ok(pipe) = pipe.as_fd().try_clone_to_owned()
        {
            let relay = Command::new(INIT)
                .arg(RELAY)
                .stdin(pipe)
                .stdout(Stdio::null())
                .spawn();
            if let Err(error) = relay {
                say(&format!("the hook's background output is lost: {error}"));
            }
        }
        guard
    }
}

fn pass_on(pipe: &ChildStderr, last: &Mutex<Vec<u8>>) {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut buffer = [0; 4096];
    loop {
        let mut ready = [PollFd::new(pipe, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match rustix::io::read(pipe, &mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        std::io::stderr().write_all(&buffer[..count]).ok();
        last.extend_from_slice(&buffer[..count]);
        let excess = last.len().saturating_sub(LAST_WORDS);
        last.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_up_to_the_empty_text() {
        assert!(!is_complete(b"A=1\0B=2\0"));
        assert!(is_complete(b"A=1\0B=2\0\0") && is_complete(b"\0"));
        let variables = parse(b"A=1\0B=x=y\n\0_=/bin/x\0=bad\0\0");
        let own = |name: &str| {
            variables
                .get(OsStr::new(name))
                .map(|value| value.to_str().unwrap())
        };
        assert_eq!(
            (own("A"), own("B"), variables.len()),
            (Some("1"), Some("x=y\n"), 2)
        );
    }

    #[test]
    fn a_command_is_found_on_the_path_that_the_hook_left() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("tool");
        fs::write(&program, "").unwrap();
        let path = (OsString::from("PATH"), folder.path().as_os_str().to_owned());
        let variables: Variables = [path].into();
        let command = [OsString::from("tool")];
        let error = find(&command, &variables).unwrap_err();
        assert_eq!(error, "exec: \"tool\": executable file not found in $PATH");
        fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(&command, &variables).unwrap(), program);
        assert!(find(&[OsString::from("/no/such")], &variables).is_err());
        assert!(find(&[], &variables).is_err());
    }
}
