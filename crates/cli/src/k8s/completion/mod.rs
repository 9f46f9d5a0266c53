//! `completion`: what a shell may put where the cursor is. The scripts ask the program, which asks the cluster.

mod line;

use std::time::Duration;

use clap::{Args, ValueEnum};
use kube::config::Kubeconfig;

use crate::context::Context;
use crate::error::Outcome;
use crate::k8s::cluster::Cluster;
use crate::k8s::completion::line::{Line, Wish};
use crate::k8s::kinds::{Kind, WORKLOADS};
use crate::k8s::object;
use crate::k8s::plugin;
use crate::output::Printer;

/// A shell waits for no slow cluster.
const PATIENCE: Duration = Duration::from_secs(2);
/// What the scripts put before the words of a line. The words after it are no command line: they are read by hand.
pub(crate) const COMPLETE: &str = "__complete";
/// The directive by which `kubectl` completes files, and the one by which it does not.
const FILES: u8 = 0;
const NO_FILES: u8 = 4;

/// Prints a shell's script.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell; `kubectl` prints the file `kubectl_complete-nival`, by which `kubectl nival` itself is completed
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Kubectl,
}

/// Prints the script of a shell.
///
/// # Errors
/// Fails when standard output takes no more.
pub(crate) fn script(context: &Context, args: &CompletionArgs) -> Outcome {
    let text = match args.shell {
        Shell::Bash => include_str!("bash.sh"),
        Shell::Zsh => include_str!("zsh.sh"),
        Shell::Fish => include_str!("fish.fish"),
        Shell::Kubectl => include_str!("kubectl.sh"),
    };
    Ok(context.printer.raw(text.as_bytes())?)
}

/// Prints what may stand at the end of a line, in the form that `kubectl` takes from plugins.
///
/// # Errors
/// Fails when standard output takes no more.
pub(crate) async fn complete(printer: Printer, words: &[String]) -> Outcome {
    let line = Line::read(&plugin::command(), words);
    let (candidates, directive) = match &line.wish {
        Wish::Words(words) => (words.clone(), NO_FILES),
        Wish::Files => (Vec::new(), FILES),
        Wish::Nothing => (Vec::new(), NO_FILES),
        Wish::Contexts => (contexts(&line), NO_FILES),
        // A cluster that cannot be asked has no names; a shell is no place for its error.
        Wish::Namespaces | Wish::Objects { .. } => {
            let asked = tokio::time::timeout(PATIENCE, names(&line)).await;
            (asked.unwrap_or_default(), NO_FILES)
        }
    };
    for (word, about) in candidates {
        if !word.starts_with(&line.prefix) {
            continue;
        }
        match about.is_empty() {
            true => printer.data(word)?,
            false => printer.data(format!("{word}\t{about}"))?,
        }
    }
    Ok(printer.data(format!(":{directive}"))?)
}

fn contexts(line: &Line) -> Vec<(String, String)> {
    let read = match &line.flags.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let contexts = read.map(|file| file.contexts).unwrap_or_default();
    contexts
        .into_iter()
        .map(|one| (one.name, String::new()))
        .collect()
}

async fn names(line: &Line) -> Vec<(String, String)> {
    let Ok(cluster) = Cluster::of(&line.flags).await else {
        return Vec::new();
    };
    let Wish::Objects { only_pods, bare } = line.wish else {
        let found = cluster.list_metadata(Kind::Namespace, None).await;
        let found = found.unwrap_or_default();
        let one = |object| (object::name(object).to_owned(), String::new());
        return found.iter().map(one).collect();
    };
    let mut names = Vec::new();
    for kind in WORKLOADS {
        if only_pods && kind != Kind::Pod {
            continue;
        }
        // Of the others only once the kind is typed: a pod's name is long, and there are many.
        let typed = line.prefix.starts_with("pod/");
        if kind == Kind::Pod && !only_pods && !typed {
            continue;
        }
        let found = cluster.list(kind, Some(cluster.namespace())).await;
        for object in found.unwrap_or_default() {
            let uses = object::template_annotations(kind, &object);
            if workload::uses::Use::all_in(&uses).is_empty() {
                continue;
            }
            let name = object::name(&object);
            names.push(match bare {
                true => (name.to_owned(), String::new()),
                false => (format!("{}/{name}", kind.short()), String::new()),
            });
        }
    }
    names
}
