//! Reads an unfinished command line by the definition of the commands, and says what may come next.

use clap::{Arg, ArgAction, Command};

use crate::k8s::flags::ClusterFlags;

/// An unfinished line.
#[derive(Debug)]
pub(super) struct Line {
    /// What is typed of the last word; candidates begin with it.
    pub(super) prefix: String,
    /// What may come there.
    pub(super) wish: Wish,
    /// Which cluster the line means so far.
    pub(super) flags: ClusterFlags,
}

/// What may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// One of these words, each with what it means.
    Words(Vec<(String, String)>),
    /// The name of a file.
    Files,
    /// The name of a context.
    Contexts,
    /// The name of a namespace.
    Namespaces,
    /// The name of a workload, or of a pod.
    Objects { only_pods: bool, bare: bool },
    /// Nothing that could be known.
    Nothing,
}

impl Line {
    /// Reads the words after the program's name.
    pub(super) fn read(root: &Command, words: &[String]) -> Self {
        let (last, before) = match words.split_last() {
            Some((last, before)) => (last.clone(), before),
            None => (String::new(), words),
        };
        let mut command = root;
        let mut globals: Vec<&Arg> = global_arguments(root);
        let mut flags = ClusterFlags {
            nival_namespace: "nival-system".to_owned(),
            ..ClusterFlags::default()
        };
        let mut positionals = 0;
        let mut pending: Option<&Arg> = None;
        for word in before {
            if let Some(argument) = pending.take() {
                note(&mut flags, argument, word);
                continue;
            }
            if let Some((argument, value)) = flag(command, &globals, word) {
                match value {
                    Some(value) => note(&mut flags, argument, value),
                    None if takes_value(argument) => pending = Some(argument),
                    None => {}
                }
                continue;
            }
            if let Some(sub) = command.find_subcommand(word) {
                command = sub;
                globals.extend(global_arguments(sub));
                positionals = 0;
            } else if !word.starts_with('-') {
                positionals += 1;
            }
        }
        let (wish, prefix) = if let Some(argument) = pending {
            (of_argument(argument), last)
        } else if let Some((name, value)) = last.split_once('=').filter(|_| last.starts_with("--"))
        {
            let found = flag(command, &globals, name);
            let wish = found.map_or(Wish::Nothing, |(argument, _)| of_argument(argument));
            (with_flag(wish, name), format!("{name}={value}"))
        } else if last.starts_with('-') {
            (Wish::Words(flags_of(command, &globals)), last)
        } else {
            (of_position(command, positionals), last)
        };
        Self {
            prefix,
            wish,
            flags,
        }
    }
}

fn global_arguments(command: &Command) -> Vec<&Arg> {
    command
        .get_arguments()
        .filter(|one| one.is_global_set())
        .collect()
}

fn takes_value(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
}

/// Returns the flag that a word is, and the value that it carries itself.
fn flag<'a, 'w>(
    command: &'a Command,
    globals: &[&'a Arg],
    word: &'w str,
) -> Option<(&'a Arg, Option<&'w str>)> {
    let all = command.get_arguments().chain(globals.iter().copied());
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let mut all = all;
        return all
            .find(|one| one.get_long() == Some(name))
            .map(|one| (one, value));
    }
    let mut letters = word.strip_prefix('-')?.chars();
    let letter = letters.next()?;
    let rest = Some(letters.as_str()).filter(|rest| !rest.is_empty());
    let mut all = all;
    all.find(|one| one.get_short() == Some(letter))
        .map(|one| (one, rest.filter(|_| takes_value(one))))
}

/// Notes a flag that says which cluster is meant.
fn note(flags: &mut ClusterFlags, argument: &Arg, value: &str) {
    let value = value.to_owned();
    match argument.get_id().as_str() {
        "namespace" => flags.namespace = Some(value),
        "kubeconfig" => flags.kubeconfig = Some(value.into()),
        "context" => flags.context = Some(value),
        "cluster" => flags.cluster = Some(value),
        "user" => flags.user = Some(value),
        "impersonate" => flags.impersonate = Some(value),
        _ => {}
    }
}

fn of_argument(argument: &Arg) -> Wish {
    let values = argument.get_possible_values();
    if !values.is_empty() {
        let one = |value: &clap::builder::PossibleValue| {
            let about = value.get_help().map(ToString::to_string);
            (value.get_name().to_owned(), about.unwrap_or_default())
        };
        return Wish::Words(values.iter().map(one).collect());
    }
    match argument.get_id().as_str() {
        "namespace" | "nival_namespace" => Wish::Namespaces,
        "context" => Wish::Contexts,
        "kubeconfig" | "files" => Wish::Files,
        "pod" => Wish::Objects {
            only_pods: true,
            bare: true,
        },
        "object" => Wish::Objects {
            only_pods: true,
            bare: false,
        },
        "workload" | "workloads" => Wish::Objects {
            only_pods: false,
            bare: false,
        },
        _ => Wish::Nothing,
    }
}

fn of_position(command: &Command, position: usize) -> Wish {
    let subcommands: Vec<(String, String)> = command
        .get_subcommands()
        .filter(|one| !one.is_hide_set())
        .map(|one| {
            let about = one.get_about().map(ToString::to_string);
            (one.get_name().to_owned(), about.unwrap_or_default())
        })
        .collect();
    if !subcommands.is_empty() {
        return Wish::Words(subcommands);
    }
    let positionals: Vec<&Arg> = command.get_positionals().collect();
    let last = positionals.last().filter(|one| {
        one.get_num_args()
            .is_some_and(|range| range.max_values() > 1)
    });
    match positionals.get(position).or(last) {
        Some(argument) => of_argument(argument),
        None => Wish::Nothing,
    }
}

/// Puts a flag's name before the values, since the shell takes both for one word.
fn with_flag(wish: Wish, name: &str) -> Wish {
    match wish {
        Wish::Words(words) => Wish::Words(
            words
                .into_iter()
                .map(|(word, about)| (format!("{name}={word}"), about))
                .collect(),
        ),
        _ => Wish::Nothing,
    }
}

fn flags_of(command: &Command, globals: &[&Arg]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = command
        .get_arguments()
        .chain(globals.iter().copied())
        .filter(|one| !one.is_hide_set())
        .filter_map(|one| {
            let about = one.get_help().map(ToString::to_string);
            Some((format!("--{}", one.get_long()?), about.unwrap_or_default()))
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::plugin;

    fn read(line: &str) -> Line {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Line::read(&plugin::command(), &words)
    }

    fn words(line: &str) -> Vec<String> {
        let read = read(line);
        let Wish::Words(words) = read.wish else {
            panic!("{line}: {:?}", read.wish);
        };
        let words = words.into_iter().map(|(word, _)| word);
        words
            .filter(|word| word.starts_with(&read.prefix))
            .collect()
    }

    #[test]
    fn verbs_flags_and_their_values_come_from_the_definition() {
        assert_eq!(words("sta"), ["status"]);
        assert_eq!(words("rollout re"), ["resume", "restart"]);
        assert!(words("status --").contains(&"--output".to_owned()));
        assert!(words("status --name").contains(&"--namespace".to_owned()));
        assert_eq!(words("status -o "), ["wide", "json", "yaml", "name"]);
        assert_eq!(words("status --output=j"), ["--output=json"]);
        assert_eq!(words("sbom pod/x --format s"), ["spdx"]);
        assert!(words("").contains(&"doctor".to_owned()));
        assert!(!words("").contains(&"__complete".to_owned()));
    }

    #[test]
    fn names_come_from_the_cluster_that_the_line_means() {
        let all = Wish::Objects {
            only_pods: false,
            bare: false,
        };
        let line = read("-n shop --context=prod rollback d");
        assert_eq!((line.wish, line.prefix.as_str()), (all.clone(), "d"));
        assert_eq!(line.flags.namespace.as_deref(), Some("shop"));
        assert_eq!(line.flags.context.as_deref(), Some("prod"));
        assert_eq!(read("status a b ").wish, all);
        assert_eq!(read("rollout status ").wish, all);
        assert_eq!(read("rollback deploy/web ").wish, Wish::Nothing);
        assert_eq!(read("-n ").wish, Wish::Namespaces);
        assert_eq!(read("status --context ").wish, Wish::Contexts);
        assert_eq!(read("pin ").wish, Wish::Files);
        assert_eq!(read("pin a.yaml ").wish, Wish::Files);
        assert!(matches!(
            read("logs ").wish,
            Wish::Objects {
                only_pods: true,
                bare: true
            }
        ));
        // What is no command line at all does no harm.
        for strange in ["- ", "-- ", "-= =", "--=", "é --é=", "-né "] {
            read(strange);
        }
    }
}
