//! Reads each table of a manifest.

use std::collections::BTreeMap;

use super::decode::{Field, Source, Table};
use super::file::{
    ActivateMode, Build, BuildVersion, Containerize, Include, ManifestFile, OptionsTable, Profile,
    Readiness, Sandbox, Service, Shutdown,
};
use super::packages::install;
use super::{check, is_install_id, is_variable_name};
use crate::System;
use crate::diagnostic::nearest;

/// Reads the whole document.
pub(super) fn read(source: &Source<'_>, mut root: Table<'_, '_>) -> ManifestFile {
    check::version(&mut root);
    root.ignore("minimum-cli-version");
    root.ignore("plugins");
    root.ignore("pkg-groups");
    let mut file = ManifestFile {
        description: root.string("description"),
        ..ManifestFile::default()
    };
    file.install = named(root.table("install"), is_install_id, install);
    file.vars = named(root.table("vars"), is_variable_name, |field| field.string());
    if let Some(mut table) = root.table("hook") {
        file.hook.on_activate = table.string("on-activate");
        table.ignore("on-deactivate");
        table.ignore("script");
        table.finish();
    }
    if let Some(mut table) = root.table("profile") {
        file.profile = Profile {
            common: table.string("common"),
            bash: table.string("bash"),
            zsh: table.string("zsh"),
            fish: table.string("fish"),
            tcsh: table.string("tcsh"),
        };
        table.ignore("deactivate");
        table.finish();
    }
    let services = root.table("services");
    file.services = named(services, is_install_id, service);
    if let Some(mut table) = root.table("include") {
        let elements = table
            .take("environments")
            .and_then(|field| field.elements());
        file.include = elements
            .into_iter()
            .flatten()
            .filter_map(|field| include(&field))
            .collect();
        table.finish();
    }
    file.build = named(root.table("build"), is_install_id, build);
    if let Some(table) = root.table("options") {
        file.options = options(table);
    }
    if let Some(mut table) = root.table("containerize") {
        file.containerize = table.table("config").map(containerize);
        table.finish();
    }
    root.finish();
    check::whole(source, &file);
    file
}

/// Reads a table whose keys are names that the user chose.
fn named<'s, 't: 's, T>(
    table: Option<Table<'s, 't>>,
    is_name: fn(&str) -> bool,
    read: fn(&Field<'s, 't>) -> Option<T>,
) -> BTreeMap<String, T> {
    let entries = table.into_iter().flat_map(Table::into_entries);
    entries
        .filter_map(|(name, field)| {
            if !is_name(name) {
                let help = "a letter or _ first, then letters, digits and _; packages and services also take - + . @";
                field.key_error("is not a valid name", Some(help.to_owned()));
            }
            Some((name.to_owned(), read(&field)?))
        })
        .collect()
}

pub(super) fn systems(field: &Field<'_, '_>) -> Option<Vec<System>> {
    let mut systems = Vec::new();
    let written = field.strings()?;
    if written.is_empty() {
        field.error(
            "names no system",
            Some(format!("known: {}", System::KNOWN.join(", "))),
        );
    }
    for (text, field) in written {
        match text.parse::<System>() {
            Ok(system) => systems.push(system),
            Err(_) => {
                let help = match nearest(&text, System::KNOWN) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("known: {}", System::KNOWN.join(", ")),
                };
                field.error(&format!("is {text:?}, which is no system"), Some(help));
            }
        }
    }
    systems.sort();
    systems.dedup();
    Some(systems)
}

fn service(field: &Field<'_, '_>) -> Option<Service> {
    let mut table = field.table()?;
    let command = table.required("command");
    let shutdown = table.table("shutdown").map(|mut table| {
        let small = |number: Option<u64>| number.and_then(|one| one.try_into().ok());
        let shutdown = Shutdown {
            command: table.string("command"),
            signal: small(table.number("signal", 1..65)),
            timeout_seconds: small(table.number("timeout-seconds", 0..86_401)),
        };
        table.finish();
        shutdown
    });
    let readiness = table.table("readiness").and_then(|mut table| {
        let command = table.required("command");
        let seconds = |number: Option<u64>, default| {
            number
                .and_then(|one| one.try_into().ok())
                .unwrap_or(default)
        };
        let interval_seconds = seconds(table.number("interval-seconds", 1..3_601), 1);
        let timeout_seconds = seconds(table.number("timeout-seconds", 1..86_401), 60);
        table.finish();
        Some(Readiness {
            command: command?,
            interval_seconds,
            timeout_seconds,
        })
    });
    let is_daemon = table.boolean("is-daemon").unwrap_or(false);
    if is_daemon
        && shutdown
            .as_ref()
            .is_none_or(|shutdown| shutdown.command.is_none())
    {
        field.key_error(
            "is a daemon without shutdown.command",
            Some("say how to stop it".to_owned()),
        );
    }
    let vars = named(table.table("vars"), is_variable_name, |field| {
        field.string()
    });
    let service = Service {
        command: command.unwrap_or_default(),
        vars,
        is_daemon,
        auto_start: table.boolean("auto-start").unwrap_or(false),
        shutdown,
        depends_on: table.strings("depends-on").unwrap_or_default(),
        readiness,
        systems: table.take("systems").and_then(|field| systems(&field)),
    };
    table.finish();
    Some(service)
}

fn include(field: &Field<'_, '_>) -> Option<Include> {
    let mut table = field.table()?;
    let (dir, remote) = (table.string("dir"), table.string("remote"));
    let name = table.string("name");
    let generation = table.number("generation", 1..u64::MAX);
    table.finish();
    match (dir, remote) {
        (Some(dir), None) => Some(Include::Dir { dir, name }),
        (None, Some(remote)) => Some(Include::Remote {
            remote,
            generation,
            name,
        }),
        _ => {
            field.key_error(
                "does not say what to include",
                Some("give either dir or remote".to_owned()),
            );
            None
        }
    }
}

fn build(field: &Field<'_, '_>) -> Option<Build> {
    let mut table = field.table()?;
    let command = table.required("command");
    table.ignore("sandbox-allow");
    let version = table.take("version").and_then(|field| {
        if field.is_string() {
            return field.string().map(BuildVersion::Text);
        }
        let mut table = field.table()?;
        let (file, command) = (table.string("file"), table.string("command"));
        table.finish();
        match (file, command) {
            (Some(file), None) => Some(BuildVersion::File(file)),
            (None, Some(command)) => Some(BuildVersion::Command(command)),
            _ => {
                field.key_error("must have either file or command", None);
                None
            }
        }
    });
    let sandbox = table
        .take("sandbox")
        .and_then(|field| match field.string()?.as_str() {
            "off" => Some(Sandbox::Off),
            "pure" => Some(Sandbox::Pure),
            other => {
                field.error(
                    &format!("is {other:?}; allowed are \"off\" and \"pure\""),
                    None,
                );
                None
            }
        });
    let license = table.take("license").and_then(|field| {
        if field.is_string() {
            return field.string().map(|one| vec![one]);
        }
        Some(field.strings()?.into_iter().map(|(text, _)| text).collect())
    });
    let build = Build {
        command: command.unwrap_or_default(),
        version,
        sandbox: sandbox.unwrap_or_default(),
        runtime_packages: table.strings("runtime-packages"),
        description: table.string("description"),
        license: license.unwrap_or_default(),
        systems: table.take("systems").and_then(|field| systems(&field)),
    };
    table.finish();
    Some(build)
}

fn options(mut table: Table<'_, '_>) -> OptionsTable {
    let mut options = OptionsTable {
        systems: table.take("systems").and_then(|field| systems(&field)),
        cuda_detection: table.boolean("cuda-detection"),
        ..OptionsTable::default()
    };
    table.ignore("stability");
    if let Some(mut allow) = table.table("allow") {
        options.allow_unfree = allow.boolean("unfree");
        options.allow_broken = allow.boolean("broken");
        options.allow_licenses = allow.strings("licenses");
        allow.finish();
    }
    if let Some(mut semver) = table.table("semver") {
        options.allow_pre_releases = semver.boolean("allow-pre-releases");
        semver.finish();
    }
    if let Some(mut activate) = table.table("activate") {
        activate.ignore("upgrade-notifications");
        options.activate_mode =
            activate
                .take("mode")
                .and_then(|field| match field.string()?.as_str() {
                    "dev" => Some(ActivateMode::Dev),
                    "run" => Some(ActivateMode::Run),
                    other => {
                        field.error(
                            &format!("is {other:?}; allowed are \"dev\" and \"run\""),
                            None,
                        );
                        None
                    }
                });
        activate.finish();
    }
    table.finish();
    options
}

fn containerize(mut table: Table<'_, '_>) -> Containerize {
    let any_label = |_: &str| true;
    let containerize = Containerize {
        user: table.string("user"),
        exposed_ports: table.strings("exposed-ports").unwrap_or_default(),
        cmd: table.strings("cmd"),
        volumes: table.strings("volumes").unwrap_or_default(),
        working_dir: table.string("working-dir"),
        labels: named(table.table("labels"), any_label, |field| field.string()),
        stop_signal: table.string("stop-signal"),
    };
    table.finish();
    containerize
}
