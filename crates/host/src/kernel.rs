//! The kernel that everything runs on.

/// `mount_setattr`, which makes a whole tree of mounts read-only, came with Linux 5.12.
const OLDEST: (u32, u32) = (5, 12);

/// Why mounts of environments cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Linux {release} is too old: recursive read-only mounts need 5.12")]
pub struct TooOld {
    release: String,
}

/// Returns the kernel's release.
///
/// # Errors
/// Fails where it is too old.
pub fn check() -> Result<String, TooOld> {
    judge(
        rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
    )
}

fn judge(release: String) -> Result<String, TooOld> {
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST {
        return Err(TooOld { release });
    }
    Ok(release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        for new in ["5.12", "5.15.0-1053-aws", "6.1.0-13-amd64", "10.0-rc1"] {
            assert_eq!(judge(new.to_owned()).unwrap(), new);
        }
        for old in [
            "5.10.226-214.880.amzn2.x86_64",
            "4.18.0-553.el8",
            "5.4.0",
            "",
            "x",
        ] {
            let refusal = judge(old.to_owned()).unwrap_err().to_string();
            assert!(
                refusal.contains(old) && refusal.contains("5.12"),
                "{refusal}"
            );
        }
    }
}
