//! The command line of `nival-hub`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::db::Scope;
use crate::env_vars;
use crate::owner::Owner;

/// Environments, generations and a Nix binary cache per owner, served over HTTP.
#[derive(Debug, Parser)]
#[command(name = "nival-hub", version, propagate_version = true)]
pub(crate) struct Arguments {
    /// What all commands need to know.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The folder of all data [default: $XDG_DATA_HOME/nival-hub]
    #[arg(long, global = true, value_name = "DIR", env = env_vars::DATA)]
    pub(crate) data: Option<PathBuf>,
    /// The configuration file [default: /etc/nival/hub.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = env_vars::CONFIG)]
    pub(crate) config: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves until it is told to stop (SIGTERM)
    Serve(Serve),
    /// Makes, lists and revokes tokens
    #[command(subcommand)]
    Token(Token),
    /// Shows who did what, when
    Audit(Audit),
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7878]
    #[arg(long, value_name = "ADDRESS", env = env_vars::LISTEN)]
    pub(crate) listen: Option<SocketAddr>,
    /// Writes the address that it really listens on to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) listen_file: Option<PathBuf>,
    /// Serves /metrics here instead of beside everything else
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Takes records that nobody signed; nodes refuse them all the same
    #[arg(long)]
    pub(crate) accept_unsigned: bool,
}

/// The commands of `token`.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Makes a token and prints it: it can not be shown again
    Create(CreateToken),
    /// Lists tokens, without their secrets
    List {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Ends a token at once
    Revoke {
        /// The token's id, as `token list` shows it
        id: String,
    },
}

/// Options of `token create`.
#[derive(Debug, Args)]
pub(crate) struct CreateToken {
    /// Whose environments and cache it is for
    #[arg(long)]
    pub(crate) owner: Owner,
    /// read: what is private to the owner; push: change it, too; admin: everything of every owner
    #[arg(long, default_value = "push", value_name = "read|push|admin")]
    pub(crate) scope: Scope,
    /// When it ends, from now: 30d, 12h, 90s [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) expires: Option<std::time::Duration>,
}

/// Options of `audit`.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Prints JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// How many of the newest lines
    #[arg(long, default_value_t = 1000)]
    pub(crate) most: u32,
}

fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("{text:?} is not a time: write 30d, 12h, 15m or 90s");
    let digits = text.trim_end_matches(|one: char| one.is_ascii_alphabetic());
    let seconds: u64 = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    // A century is as good as never, and fits every clock.
    let seconds = count
        .checked_mul(seconds)
        .filter(|all| *all <= 36_525 * 86_400);
    seconds
        .map(std::time::Duration::from_secs)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(parse_duration("30d").unwrap().as_secs(), 30 * 86_400);
        assert_eq!(parse_duration("0s").unwrap().as_secs(), 0);
        for wrong in ["30", "d", "-1d", "1y", "999999999999d", "1.5h", "é"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
