//! How lists of objects are printed: `kubectl`'s tables, its other forms, and its ages.

use jiff::Timestamp;
use serde::Serialize;

use crate::error::{CommandError, Outcome};
use crate::k8s::flags::Output;
use crate::output::Printer;

/// What a list is to be printed as.
pub(crate) trait Listed: Serialize {
    /// The table's columns; the second part only in the wide one.
    const COLUMNS: (&'static [&'static str], &'static [&'static str]);

    /// Returns the cells of the table, and those of the wide one.
    fn cells(&self) -> (Vec<String>, Vec<String>);

    /// Returns the object's namespace.
    fn namespace(&self) -> &str;

    /// Returns the object's name: `deployment.apps/web`.
    fn name(&self) -> String;
}

/// A list as JSON and YAML have it.
#[derive(Serialize)]
struct Items<'a, T> {
    items: &'a [T],
}

/// Prints a list.
///
/// # Errors
/// Fails when standard output takes no more.
pub(crate) fn list<T: Listed>(
    printer: Printer,
    output: Option<Output>,
    with_namespace: bool,
    items: &[T],
) -> Outcome {
    match output {
        Some(Output::Json | Output::Yaml) => return structured(printer, output, &Items { items }),
        Some(Output::Name) => {
            let mut names: Vec<String> = items.iter().map(Listed::name).collect();
            // Several rows may be of one object.
            names.dedup();
            let line = |name| printer.data(name);
            return Ok(names.into_iter().try_for_each(line)?);
        }
        None | Some(Output::Wide) => {}
    }
    let wide = output == Some(Output::Wide);
    let (narrow, more) = T::COLUMNS;
    let mut head: Vec<&str> = Vec::new();
    if with_namespace {
        head.push("NAMESPACE");
    }
    head.extend(narrow);
    if wide {
        head.extend(more);
    }
    let row = |item: &T| {
        let (narrow, more) = item.cells();
        let namespace = with_namespace.then(|| item.namespace().to_owned());
        let more = if wide { more } else { Vec::new() };
        namespace.into_iter().chain(narrow).chain(more).collect()
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    Ok(printer.table(&head, &rows)?)
}

/// Prints one value as JSON or YAML.
///
/// # Errors
/// Fails when standard output takes no more.
pub(crate) fn structured(
    printer: Printer,
    output: Option<Output>,
    value: &impl Serialize,
) -> Outcome {
    if output == Some(Output::Yaml) {
        // By way of JSON, so that both have the same fields in the same order.
        let value = serde_json::to_value(value)?;
        let text = serde_saphyr::to_string(&value)?;
        return Ok(printer.raw(text.as_bytes())?);
    }
    printer.json(value)
}

/// Refuses a form that a verb has nothing for.
///
/// # Errors
/// Fails for `wide` and `name`.
pub(crate) fn only_structured(output: Option<Output>) -> Outcome {
    match output {
        None | Some(Output::Json | Output::Yaml) => Ok(()),
        Some(Output::Wide | Output::Name) => Err(CommandError::with_kind(
            crate::error::ErrorKind::Usage,
            "this command prints a table, json or yaml: leave -o out, or write -o json or -o yaml",
        )),
    }
}

/// Returns how long ago a time of the API was, as `kubectl` words it.
pub(crate) fn age(time: Option<&str>, now: Timestamp) -> String {
    let Some(time) = time.and_then(|time| time.parse::<Timestamp>().ok()) else {
        return "<unknown>".to_owned();
    };
    duration(now.as_second().saturating_sub(time.as_second()))
}

/// Returns a number of seconds as `kubectl` words it: two units while they matter, one afterwards.
pub(crate) fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        _ => two(days / 365, "y", days % 365, "d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_those_of_kubectl() {
        for (seconds, text) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (700, "11m"),
            (3 * 3600 + 60, "3h1m"),
            (9 * 3600 + 60, "9h"),
            (3 * 86_400 + 3600, "3d1h"),
            (20 * 86_400, "20d"),
            (800 * 86_400, "2y70d"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(age(Some("2026-01-01T00:00:00Z"), now), "60s");
        assert_eq!(age(Some("yesterday"), now), "<unknown>");
    }
}
