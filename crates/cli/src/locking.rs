//! From a manifest to a lock: asks the package set, solves, has the packages, composes the environments.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use env_spec::System;
use env_spec::activation::ActivationPlan;
use env_spec::compose::compose;
use env_spec::generation::ClosurePath;
use env_spec::lockfile::{
    CatalogRevision, LOCKFILE_VERSION, LockedEnvironment, LockedPackage, LockedSystem, Lockfile,
};
use env_spec::manifest::{InstallSource, Manifest, Outputs};
use env_spec::solve::{
    GroupRequest, GroupSolution, GroupSolver, PackageFacts, RevisionFacts, requests,
};
use host::nix::Nix;
use nix_data::StorePath;

use crate::catalog::{self, Facts};
use crate::context::Context;
use crate::error::{CommandError, Doing as _, Outcome};
use crate::laptop::{self, MachineStore};
use crate::progress::Spinner;
use crate::settings::Revision;

/// Whether a group stays at the revision it was locked to where that still satisfies the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Stay: a change elsewhere in the manifest changes no other package.
    KeepRevisions,
    /// Take the newest.
    Newest,
}

/// Resolves a manifest.
///
/// # Errors
/// Fails when a package cannot be had as the manifest wants it, or two conflict. Nothing is written.
pub(crate) fn lock(
    context: &Context,
    manifest: &Manifest,
    previous: Option<&Lockfile>,
    choice: Choice,
) -> Outcome<Lockfile> {
    let nix = context.nix();
    let machine = context.system()?;
    let groups = requests(manifest)?;
    let kept = previous.filter(|_| choice == Choice::KeepRevisions);
    let solutions = solve(context, &nix, &groups, kept)?;

    let mut lockfile = Lockfile {
        lockfile_version: LOCKFILE_VERSION,
        manifest: manifest.to_value(),
        groups: BTreeMap::new(),
        systems: BTreeMap::new(),
    };
    let mut packages: BTreeMap<System, Vec<LockedPackage>> = manifest
        .options
        .systems
        .iter()
        .map(|system| (system.clone(), Vec::new()))
        .collect();
    for solution in solutions {
        lockfile.groups.insert(solution.group, solution.revision);
        for (system, solved) in solution.packages {
            packages.entry(system).or_default().extend(solved);
        }
    }
    for (system, list) in &mut packages {
        list.extend(store_paths(manifest, system)?);
        list.sort_by(|one, other| one.install_id.cmp(&other.install_id));
    }
    for (system, list) in packages {
        let locked = if system == machine {
            lock_here(context, &nix, manifest, list)?
        } else {
            lock_elsewhere(&nix, manifest, &system, list)?
        };
        lockfile.systems.insert(system, locked);
    }
    Ok(lockfile)
}

/// Solves every group, asking one revision after the other until all are content.
fn solve(
    context: &Context,
    nix: &Nix,
    groups: &[GroupRequest],
    kept: Option<&Lockfile>,
) -> Outcome<Vec<GroupSolution>> {
    let revisions = &context.settings.revisions.value;
    let mut asked: BTreeMap<usize, Asked> = BTreeMap::new();
    let mut solutions = Vec::new();
    for group in groups {
        let mut order: Vec<usize> = (0..revisions.len()).collect();
        let stay = kept.and_then(|lock| lock.groups.get(&group.group));
        if let Some(stay) = stay {
            // A stable sort: only the kept one moves, to the front.
            order.sort_by_key(|index| revisions[*index].name != stay.revision);
        }
        let mut solver = GroupSolver::new(group);
        let mut solution = None;
        for index in order {
            let facts = match asked.entry(index) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let what = format!("asking package set {}", revisions[index].name);
                    let _spinner = Spinner::start(context.printer, what);
                    unknown.insert(ask(nix, &revisions[index], groups)?)
                }
            };
            solution = solver.consider(&facts.facts);
            if solution.is_some() {
                break;
            }
        }
        match solution {
            Some(solution) => solutions.push(solution),
            None => {
                return Err(explained(
                    nix,
                    revisions,
                    &asked,
                    group,
                    solver.finish().into(),
                ));
            }
        }
    }
    Ok(solutions)
}

/// What one revision answered.
struct Asked {
    facts: RevisionFacts,
    /// What is there, but fails to evaluate.
    failing: Vec<(System, String)>,
}

/// Adds what the package set itself says of packages that it has removed or renamed.
fn explained(
    nix: &Nix,
    revisions: &[Revision],
    asked: &BTreeMap<usize, Asked>,
    group: &GroupRequest,
    error: CommandError,
) -> CommandError {
    let wanted = group.wanted();
    let failing = asked.iter().find_map(|(index, asked)| {
        let is_wanted = |(system, path): &&(System, String)| {
            wanted.get(system).is_some_and(|paths| paths.contains(path))
        };
        asked
            .failing
            .iter()
            .find(is_wanted)
            .map(|failing| (&revisions[*index], failing))
    });
    let Some((revision, (system, path))) = failing else {
        return error;
    };
    match catalog::explain(nix, revision, system, path) {
        Some(words) => error.hint(format!(
            "package set {} says of {path}: {words}",
            revision.name
        )),
        None => error,
    }
}

/// Asks one revision for all that any group wants: one evaluation per system, side by side.
fn ask(nix: &Nix, revision: &Revision, groups: &[GroupRequest]) -> Outcome<Asked> {
    let mut wanted: BTreeMap<System, BTreeSet<String>> = BTreeMap::new();
    for group in groups {
        for (system, paths) in group.wanted() {
            wanted.entry(system).or_default().extend(paths);
        }
    }
    let answers = thread::scope(|scope| {
        let asking: Vec<_> = wanted
            .into_iter()
            .map(|(system, paths)| {
                scope.spawn(move || {
                    let paths: Vec<String> = paths.into_iter().collect();
                    catalog::facts(nix, revision, &system, &paths, false)
                        .map(|facts| (system, facts))
                })
            })
            .collect();
        asking
            .into_iter()
            .map(|one| one.join().expect("asking for facts does not panic"))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let mut facts = RevisionFacts {
        revision: CatalogRevision {
            revision: revision.name.clone(),
            nar_hash: None,
        },
        packages: BTreeMap::new(),
        names: Vec::new(),
    };
    let mut failing = Vec::new();
    for (system, answer) in answers {
        if facts.revision.nar_hash.is_none() {
            facts.revision.nar_hash = catalog::hash(nix, revision, &answer.root)?;
        }
        facts.names.extend(answer.names);
        failing.extend(
            answer
                .failing
                .into_iter()
                .map(|path| (system.clone(), path)),
        );
        for (path, one) in answer.packages {
            let one = convert(revision, &path, one)?;
            facts.packages.insert((system.clone(), path), one);
        }
    }
    facts.names.sort();
    facts.names.dedup();
    Ok(Asked { facts, failing })
}

fn convert(revision: &Revision, attribute: &str, facts: Facts) -> Outcome<PackageFacts> {
    let path = |text: &str| catalog::store_path(&revision.name, attribute, text);
    let mut outputs = BTreeMap::new();
    for (name, text) in facts.outputs.unwrap_or_default() {
        if let Some(text) = text {
            outputs.insert(name, path(&text)?);
        }
    }
    if outputs.is_empty() {
        let text = format!(
            "package {attribute} of revision {} does not evaluate",
            revision.name
        );
        return Err(CommandError::user(text)
            .hint("`nix eval` of it shows why; choose another version or package"));
    }
    Ok(PackageFacts {
        pname: facts.pname,
        version: facts.version,
        derivation: facts.derivation.as_deref().map(path).transpose()?,
        outputs_to_install: facts
            .outputs_to_install
            .unwrap_or_else(|| vec!["out".to_owned()]),
        outputs,
        licenses: facts.licenses,
        free: facts.free,
        broken: facts.broken,
        unsupported: facts.unsupported,
        description: facts.description,
        homepage: facts.homepage,
        cpe: facts.cpe,
        purl: facts.purl,
    })
}

/// Packages that the manifest names by store path need no package set.
fn store_paths(manifest: &Manifest, system: &System) -> Outcome<Vec<LockedPackage>> {
    let mut packages = Vec::new();
    for (id, install) in &manifest.install {
        if !install.systems.contains(system) {
            continue;
        }
        match &install.source {
            InstallSource::Catalog { .. } => {}
            InstallSource::Flake { .. } => {
                let text =
                    format!("package {id} comes from a flake, which this Nival cannot lock yet");
                return Err(CommandError::user(text)
                    .hint("build it with `nix build` and name the result with `store-path`"));
            }
            InstallSource::StorePath { path } => {
                if !matches!(install.outputs, Outputs::Default | Outputs::All) {
                    let text = format!("package {id} is a store path, so it cannot choose outputs");
                    return Err(CommandError::user(text));
                }
                packages.push(named_by_path(id, path, install.priority));
            }
        }
    }
    Ok(packages)
}

fn named_by_path(id: &str, path: &StorePath, priority: u32) -> LockedPackage {
    // As Nix splits names: the version begins at the first dash that no letter follows.
    let name = path.name();
    let split = name.match_indices('-').find(|(at, _)| {
        name.as_bytes()
            .get(at + 1)
            .is_some_and(|next| !next.is_ascii_alphabetic())
    });
    let (pname, version) = split.map_or((name, ""), |(at, _)| (&name[..at], &name[at + 1..]));
    LockedPackage {
        install_id: id.to_owned(),
        attr_path: String::new(),
        group: String::new(),
        pname: pname.to_owned(),
        version: version.to_owned(),
        priority,
        derivation: None,
        outputs: BTreeMap::from([("out".to_owned(), path.clone())]),
        outputs_to_install: vec!["out".to_owned()],
        licenses: Vec::new(),
        free: true,
        description: None,
        homepage: None,
        cpe: None,
        purl: None,
    }
}

/// Has the packages in the machine's store, and composes the environment from them.
fn lock_here(
    context: &Context,
    nix: &Nix,
    manifest: &Manifest,
    packages: Vec<LockedPackage>,
) -> Outcome<LockedSystem> {
    let derivations: Vec<laptop::Outputs<'_>> = packages
        .iter()
        .filter_map(|package| {
            let derivation = package.derivation.as_ref()?;
            Some(laptop::Outputs {
                derivation,
                names: &package.outputs_to_install,
            })
        })
        .collect();
    let plain: Vec<StorePath> = packages
        .iter()
        .filter(|one| one.derivation.is_none())
        .flat_map(installed)
        .collect();
    {
        let _spinner = Spinner::start(context.printer, "fetching packages");
        laptop::realise(nix, &derivations)
            .doing(|| "cannot fetch or build the packages".to_owned())?;
        laptop::substitute(nix, &plain).doing(|| "cannot fetch a store path".to_owned())?;
    }
    let environment = environment(nix, manifest, &packages)?;
    Ok(LockedSystem {
        packages,
        environment: Some(environment),
        unlocked_because: None,
    })
}

/// Composes for another system where the machine has, or can fetch, what that takes.
fn lock_elsewhere(
    nix: &Nix,
    manifest: &Manifest,
    system: &System,
    packages: Vec<LockedPackage>,
) -> Outcome<LockedSystem> {
    let paths: Vec<StorePath> = packages.iter().flat_map(installed).collect();
    let missing = laptop::fetch(nix, &paths).map_err(|error| {
        CommandError::from(error)
            .doing(format!("cannot fetch packages of {system}"))
            .hint(format!(
                "when the caches answer again, run this again; or take {system} out of `options.systems`"
            ))
    })?;
    if let Some(missing) = missing {
        let because = format!(
            "no binary cache has {missing}; lock on a machine of {system}, or fill a cache"
        );
        return Ok(LockedSystem {
            packages,
            environment: None,
            unlocked_because: Some(because),
        });
    }
    let environment = environment(nix, manifest, &packages)?;
    Ok(LockedSystem {
        packages,
        environment: Some(environment),
        unlocked_because: None,
    })
}

fn environment(
    nix: &Nix,
    manifest: &Manifest,
    packages: &[LockedPackage],
) -> Outcome<LockedEnvironment> {
    let roots: Vec<StorePath> = packages.iter().flat_map(installed).collect();
    let known: BTreeMap<StorePath, ClosurePath> = laptop::closure(nix, &roots)?
        .into_iter()
        .map(|one| (one.path.clone(), one))
        .collect();
    let contents = MachineStore::of(known.keys().cloned());
    let composed = compose(packages, &contents)?;
    Ok(LockedEnvironment {
        activation: ActivationPlan::new(manifest, &composed, &contents)?,
        closure: composed.closure(&known)?,
        path: composed.path,
    })
}

/// Returns the store paths of the outputs that are installed.
pub(crate) fn installed(package: &LockedPackage) -> impl Iterator<Item = StorePath> {
    package
        .outputs_to_install
        .iter()
        .filter_map(|name| package.outputs.get(name).cloned())
}
