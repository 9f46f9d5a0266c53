//! Whatever a manifest looks like: after a change it says what was meant, and all its comments are there.

use proptest::prelude::*;
use serde_json::{Value, json};
use workload::pin::{Plan, apply};

use super::{edit, read};

/// How one manifest is written.
#[derive(Debug, Clone)]
struct Style {
    indent: usize,
    dash_is_indented: bool,
    name_first: bool,
    quotes: usize,
    flow_annotations: bool,
    comments: bool,
    blank_lines: bool,
    windows: bool,
    last_line_end: bool,
    has_image: bool,
    has_class: bool,
    old_pin: usize,
    other_annotation: bool,
    restart: bool,
}

fn styles() -> impl Strategy<Value = Style> {
    let shape = (
        2..5_usize,
        any::<bool>(),
        any::<bool>(),
        0..3_usize,
        any::<bool>(),
    );
    let dress = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let content = (
        any::<bool>(),
        any::<bool>(),
        0..3_usize,
        any::<bool>(),
        any::<bool>(),
    );
    (shape, dress, content).prop_map(|(shape, dress, content)| {
        let (indent, dash_is_indented, name_first, quotes, flow_annotations) = shape;
        let (comments, blank_lines, windows, last_line_end) = dress;
        let (has_image, has_class, old_pin, other_annotation, restart) = content;
        Style {
            indent,
            dash_is_indented,
            name_first,
            quotes,
            flow_annotations,
            comments,
            blank_lines,
            windows,
            last_line_end,
            has_image,
            has_class,
            old_pin,
            other_annotation,
            restart,
        }
    })
}

fn pin(number: u64) -> String {
    format!(
        "acme/api:{number}@sha256:{}",
        format!("{number:x}").repeat(64)
    )
}

impl Style {
    fn quoted(&self, text: &str) -> String {
        match self.quotes {
            0 => text.to_owned(),
            1 => format!("'{text}'"),
            _ => format!("\"{text}\""),
        }
    }

    fn annotations(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        if self.other_annotation {
            all.push(("team", "\"a # b\"".to_owned()));
        }
        all.push(("nival.dev/environment", self.quoted("acme/api")));
        if self.old_pin > 0 {
            all.push(("nival.dev/generation", self.quoted(&pin(1))));
            let from = if self.old_pin == 1 {
                "acme/other"
            } else {
                "acme/api"
            };
            all.push(("nival.dev/pinned-from", self.quoted(from)));
        }
        if self.restart {
            all.push((
                "kubectl.kubernetes.io/restartedAt",
                "\"2026-11-23T22:00:00Z\"".to_owned(),
            ));
        }
        all
    }

    fn lines(&self) -> Vec<String> {
        let at = |level: usize, text: &str| format!("{}{text}", " ".repeat(level * self.indent));
        let mut lines = vec![
            "apiVersion: apps/v1".to_owned(),
            "kind: Deployment".to_owned(),
        ];
        lines.extend([
            "metadata:".to_owned(),
            at(1, "name: web"),
            "spec:".to_owned(),
        ]);
        lines.extend([at(1, "template:"), at(2, "metadata:")]);
        if self.flow_annotations {
            let pairs: Vec<String> = self
                .annotations()
                .iter()
                .map(|(name, value)| format!("\"{name}\": {value}"))
                .collect();
            lines.push(at(3, &format!("annotations: {{{}}}", pairs.join(", "))));
        } else {
            lines.push(at(3, "annotations:"));
            for (name, value) in self.annotations() {
                lines.push(at(4, &format!("{name}: {value}")));
            }
        }
        lines.push(at(2, "spec:"));
        if self.has_class {
            lines.push(at(3, "runtimeClassName: nival"));
        }
        lines.push(at(3, "containers:"));
        let dash = if self.dash_is_indented { 4 } else { 3 };
        let mut fields = vec![
            "name: web".to_owned(),
            "command: [\"x\", \"#y\"]".to_owned(),
        ];
        if !self.name_first {
            fields.reverse();
        }
        if self.has_image {
            fields.push("image: nival.dev/placeholder:v1".to_owned());
        }
        for (index, field) in fields.iter().enumerate() {
            let lead = if index == 0 { "- " } else { "  " };
            lines.push(at(dash, &format!("{lead}{field}")));
        }
        lines.push(at(3, "volumes: []"));
        lines
    }

    /// Returns the text, with the number of its comments.
    fn text(&self) -> (String, usize) {
        let mut text = String::new();
        let mut count = 0;
        let end = if self.windows { "\r\n" } else { "\n" };
        let lines = self.lines();
        for (index, line) in lines.iter().enumerate() {
            if self.comments && index % 3 == 0 {
                text.push_str(&format!("  # above {index}{end}"));
                count += 1;
            }
            if self.blank_lines && index % 4 == 0 {
                text.push_str(end);
            }
            text.push_str(line);
            if self.comments && index % 2 == 0 {
                text.push_str(&format!("  # beside {index}"));
                count += 1;
            }
            if index + 1 < lines.len() || self.last_line_end {
                text.push_str(end);
            }
        }
        (text, count)
    }
}

/// Does to an object what admission does.
fn admitted(object: &Value) -> Value {
    let plan = Plan::new(object, None).unwrap();
    let pins = plan
        .wanted()
        .into_iter()
        .map(|(slot, _)| (slot, pin(7).parse().unwrap()));
    let mut object = object.clone();
    apply(&mut object, &plan.edits(&pins.collect()));
    object
}

fn comments(text: &str) -> usize {
    text.matches("# above").count() + text.matches("# beside").count()
}

proptest! {
    #[test]
    fn the_text_says_what_admission_would_make_of_it(style in styles()) {
        let (text, count) = style.text();
        let documents = read(&text).unwrap();
        let wanted = [admitted(&documents[0].value)];
        let new = edit(&text, &documents, &wanted).unwrap();
        let again = read(&new).unwrap();
        prop_assert_eq!(&again[0].value, &wanted[0], "{}", new);
        prop_assert_eq!(comments(&new), count, "{}", new);
        // Every line that nothing was changed on is there, in its order.
        let mut lines = new.lines();
        for line in text.lines() {
            let changed = line.contains("nival.dev/generation") || line.contains("nival.dev/pinned-from")
                || style.flow_annotations && line.contains("annotations:");
            let kept = line.trim_start().trim_start_matches("- ");
            let found = changed || lines.any(|one| one.trim_start().trim_start_matches("- ") == kept);
            prop_assert!(found, "{line:?} is gone: {new}");
        }
        // A second pass finds nothing to do.
        let value = &again[0].value;
        prop_assert_eq!(&admitted(value), value);
        prop_assert_eq!(edit(&new, &again, std::slice::from_ref(value)).unwrap(), new);
    }

    #[test]
    fn no_text_makes_it_panic_or_say_something_else(
        text in "([ a-z:#'\"{}\\[\\],&*|>!?@\n\t\r-]|é|: |\n  |\n- ){0,60}", key in "[a-z]{1,3}", value in ".{0,8}",
    ) {
        let Ok(documents) = read(&text) else { return Ok(()) };
        let mut wanted: Vec<Value> = documents.iter().map(|one| one.value.clone()).collect();
        prop_assert_eq!(edit(&text, &documents, &wanted).unwrap(), text.clone());
        let Some(Value::Object(map)) = wanted.first_mut() else { return Ok(()) };
        map.insert(key, json!(value));
        if let Ok(new) = edit(&text, &documents, &wanted) {
            let again: Vec<Value> = read(&new).unwrap().into_iter().map(|one| one.value).collect();
            prop_assert_eq!(again, wanted, "{}", new);
        }
    }
}
