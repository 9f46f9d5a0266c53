//! Interactive shells: how bash, zsh and fish are started so that the environment outlives the user's own start files.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use env_spec::manifest::Profile;

/// The script that runs the hook before the command.
pub(crate) const HOOK: &str = include_str!("hook.sh");

/// The shells with a start file of their own here. Any other one is started as it is, with the variables set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bash,
    Zsh,
    Fish,
    Other,
}

/// A shell with the arguments and variables that make it interactive in the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shell {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// Variables for it alone.
    pub(crate) variables: Vec<(String, String)>,
}

impl Shell {
    /// Writes the shell's start file into a folder, and returns how to start it.
    ///
    /// # Errors
    /// Fails when the folder cannot be written.
    pub(crate) fn prepare(
        program: &str,
        folder: &Path,
        name: &str,
        variables: &[(String, String)],
        profile: &Profile,
    ) -> io::Result<Self> {
        let base = Path::new(program)
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or(program);
        let kind = match base {
            "bash" => Kind::Bash,
            "zsh" => Kind::Zsh,
            "fish" => Kind::Fish,
            _ => Kind::Other,
        };
        let plain = || vec![program.to_owned()];
        if kind == Kind::Other {
            return Ok(Self {
                command: plain(),
                variables: Vec::new(),
            });
        }
        let folder = folder.join("shell");
        fs_err::create_dir_all(&folder)?;
        let text = kind.start_file(name, variables, profile);
        let path: PathBuf = folder.join(match kind {
            Kind::Zsh => ".zshrc",
            Kind::Fish => "init.fish",
            Kind::Bash | Kind::Other => "bashrc",
        });
        host::fs::write_atomic(&path, text.as_bytes())?;
        let shown = path.display().to_string();
        Ok(match kind {
            Kind::Bash => Self {
                command: vec![program.to_owned(), "--rcfile".into(), shown, "-i".into()],
                variables: Vec::new(),
            },
            Kind::Zsh => Self {
                command: vec![program.to_owned(), "-i".into()],
                variables: vec![("ZDOTDIR".to_owned(), folder.display().to_string())],
            },
            Kind::Fish | Kind::Other => Self {
                command: vec![
                    program.to_owned(),
                    "--init-command".into(),
                    format!("source {}", quoted(&shown)),
                ],
                variables: Vec::new(),
            },
        })
    }
}

impl Kind {
    fn start_file(self, name: &str, variables: &[(String, String)], profile: &Profile) -> String {
        let mut text = String::new();
        let own = match self {
            Self::Bash => "[ -r ~/.bashrc ] && . ~/.bashrc\n",
            Self::Zsh => "ZDOTDIR=$HOME\n[ -r ~/.zshrc ] && . ~/.zshrc\n",
            Self::Fish | Self::Other => "",
        };
        text.push_str(own);
        // The user's own start files may have put other things first in PATH.
        for (name, value) in variables {
            let line = match self {
                Self::Fish => writeln!(text, "set -gx {name} {}", fish_value(name, value)),
                _ => writeln!(text, "export {name}={}", quoted(value)),
            };
            line.expect("a String takes every write");
        }
        let parts = match self {
            Self::Bash => [&profile.common, &profile.bash],
            Self::Zsh => [&profile.common, &profile.zsh],
            Self::Fish | Self::Other => [&None, &profile.fish],
        };
        for part in parts.into_iter().flatten() {
            text.push_str(part);
            text.push('\n');
        }
        let marker = match self {
            Self::Bash => format!("PS1={}\"$PS1\"\n", quoted(&format!("[{name}] "))),
            Self::Zsh => format!("PROMPT={}\"$PROMPT\"\n", quoted(&format!("[{name}] "))),
            Self::Fish | Self::Other => format!(
                "functions -c fish_prompt __nival_prompt\nfunction fish_prompt; echo -n {}; __nival_prompt; end\n",
                quoted(&format!("[{name}] "))
            ),
        };
        text.push_str(&marker);
        text
    }
}

/// fish keeps search paths as lists.
fn fish_value(name: &str, value: &str) -> String {
    if name == "PATH" {
        return value
            .split(':')
            .map(fish_quoted)
            .collect::<Vec<_>>()
            .join(" ");
    }
    fish_quoted(value)
}

fn fish_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Returns the text as one word of a POSIX shell.
#[must_use]
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_comes_after_the_users_own_start_file() {
        let profile = Profile {
            common: Some("echo common".into()),
            ..Profile::default()
        };
        let variables = [("PATH".to_owned(), "/a b:it's".to_owned())];
        let text = Kind::Bash.start_file("app", &variables, &profile);
        let at = |part: &str| {
            text.find(part)
                .unwrap_or_else(|| panic!("{part} is missing in {text}"))
        };
        assert!(at("~/.bashrc") < at("export PATH='/a b:it'\\''s'"));
        assert!(at("export PATH") < at("echo common"));
        assert!(at("echo common") < at("PS1='[app] '"));
    }
}
