//! A user namespace that nobody lives in: the kernel takes it as the description of a mapping of owners.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use fs_err as fs;
use rustix::thread::UnshareFlags;

use crate::reaper::Reaper;

/// The name under which the shim's own program makes a user namespace and stays in it for a moment.
pub(crate) const HOLDER: &str = "nival-user-namespace";

/// What the holder says when it has one; else it says the number of the error.
const MADE: [u8; 1] = [0];
/// The kernel takes no more lines.
const MOST_RANGES: usize = 340;

/// Why a mapping cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MappingError {
    #[error(
        "the mount option {option:?} is not valid: it must be CONTAINER:HOST:SIZE, or several with commas"
    )]
    Option { option: String },
    #[error("a mount option maps users but none maps groups, or the other way round")]
    Half,
    #[error("cannot make a user namespace for the mapping of owners")]
    Make {
        #[source]
        source: io::Error,
    },
}

/// From owners in the container to owners on the host, as `/proc/PID/uid_map` takes them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    users: String,
    groups: String,
}

impl Mapping {
    /// Takes the mapping out of a mount's options.
    pub(crate) fn split(options: &[String]) -> Result<(Option<Self>, Vec<String>), MappingError> {
        let (mut users, mut groups, mut others) = (None, None, Vec::new());
        for option in options {
            if let Some(ranges) = option.strip_prefix("uidmap=") {
                users = Some(lines(option, ranges)?);
            } else if let Some(ranges) = option.strip_prefix("gidmap=") {
                groups = Some(lines(option, ranges)?);
            } else {
                others.push(option.clone());
            }
        }
        match (users, groups) {
            (Some(users), Some(groups)) => Ok((Some(Self { users, groups }), others)),
            (None, None) => Ok((None, others)),
            _ => Err(MappingError::Half),
        }
    }
}

fn lines(option: &str, ranges: &str) -> Result<String, MappingError> {
    let invalid = || MappingError::Option {
        option: option.chars().take(100).collect(),
    };
    let mut lines = String::new();
    for (count, range) in ranges.split(',').enumerate() {
        let numbers = range.split(':').map(str::parse::<u32>);
        let numbers: Result<Vec<u32>, _> = numbers.collect();
        match numbers.as_deref() {
            Ok([inside, outside, size]) if *size > 0 && count < MOST_RANGES => {
                // Writing to a text does not fail.
                writeln!(lines, "{inside} {outside} {size}").ok();
            }
            _ => return Err(invalid()),
        }
    }
    Ok(lines)
}

/// Makes a user namespace with a mapping.
pub(crate) fn open(mapping: &Mapping, reaper: &Reaper) -> Result<OwnedFd, MappingError> {
    hold_and_open(mapping, reaper).map_err(|source| MappingError::Make { source })
}

fn hold_and_open(mapping: &Mapping, reaper: &Reaper) -> io::Result<OwnedFd> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(HOLDER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    // The holder ends when its standard input does, which is when the child goes out of scope.
    let (mut child, _end) = reaper.spawn(&mut command)?;
    let mut answer = [0];
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_exact(&mut answer)?;
    }
    if answer != MADE {
        return Err(io::Error::from_raw_os_error(answer[0].into()));
    }
    let process = format!("/proc/{}", child.id());
    fs::write(format!("{process}/uid_map"), &mapping.users)?;
    fs::write(format!("{process}/gid_map"), &mapping.groups)?;
    let namespace = fs::File::open(format!("{process}/ns/user"))?;
    Ok(namespace.into_parts().0.into())
}

/// Holds a user namespace until nobody needs it.
pub(crate) fn hold() -> ExitCode {
    let answer = match unshare(UnshareFlags::NEWUSER) {
        Ok(()) => MADE,
        // All of this call's errors have small numbers.
        Err(error) => [u8::try_from(error.raw_os_error()).unwrap_or(u8::MAX)],
    };
    let mut output = io::stdout();
    let told = output.write_all(&answer).and_then(|()| output.flush());
    if told.is_err() || answer != MADE {
        return ExitCode::FAILURE;
    }
    // Until its end.
    io::stdin().read_to_end(&mut Vec::new()).ok();
    ExitCode::SUCCESS
}

/// Gives this thread namespaces of its own.
pub(crate) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    #[expect(
        unsafe_code,
        reason = "what is shared with other threads matters to safety"
    )]
    // SAFETY: the table of open files stays shared.
    unsafe {
        rustix::thread::unshare_unsafe(flags.difference(UnshareFlags::FILES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(options: &[&str]) -> Result<(Option<Mapping>, Vec<String>), MappingError> {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        Mapping::split(&options)
    }

    #[test]
    fn a_mapping_is_taken_out_of_the_options() {
        let (mapping, others) = split(&[
            "lowerdir=/a:/b",
            "uidmap=0:100000:65536",
            "gidmap=0:7:1,1:100000:9",
        ])
        .unwrap();
        assert_eq!(others, ["lowerdir=/a:/b"]);
        let mapping = mapping.unwrap();
        assert_eq!(mapping.users, "0 100000 65536\n");
        assert_eq!(mapping.groups, "0 7 1\n1 100000 9\n");
        assert_eq!(split(&["ro"]).unwrap(), (None, vec!["ro".to_owned()]));
    }

    #[test]
    fn half_a_mapping_and_broken_ones_are_refused() {
        assert!(matches!(split(&["uidmap=0:1:1"]), Err(MappingError::Half)));
        for broken in ["", "0:1", "0:1:0", "0:1:2:3", "a:1:2", "-1:1:2", "0:1:2,"] {
            let option = format!("uidmap={broken}");
            let refused = split(&[&option, "gidmap=0:1:1"]);
            assert!(
                matches!(refused, Err(MappingError::Option { .. })),
                "{broken}"
            );
        }
    }
}
