//! A manifest's text and what it says, before and after changes.

use serde_json::{Value, json};

use super::{edit, read};

fn values(text: &str) -> Vec<Value> {
    read(text)
        .unwrap_or_else(|error| panic!("{error}: {text}"))
        .into_iter()
        .map(|document| document.value)
        .collect()
}

/// Changes the first document by hand, and returns the new text.
fn changed(text: &str, change: impl FnOnce(&mut Value)) -> String {
    let documents = read(text).unwrap();
    let mut wanted = values(text);
    change(&mut wanted[0]);
    edit(text, &documents, &wanted).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn new_lines_stand_beside_what_they_belong_to_and_comments_stay() {
    let text = "\
# A web server.
metadata:
  annotations:
    first: \"1\"
    nival.dev/environment: acme/web  # the newest
    # about the next
    last: x
spec:
  containers:
    # the only one
    - name: web # its name
      ports: [{containerPort: 80}]
    - command: [a]
      name: 'b'
";
    let new = changed(text, |value| {
        value["metadata"]["annotations"]["nival.dev/generation"] = json!("acme/web:3");
        value["metadata"]["annotations"]["nival.dev/pinned-from"] = json!("acme/web");
        value["spec"]["runtimeClassName"] = json!("nival");
        value["spec"]["containers"][0]["image"] = json!("i:v1");
        value["spec"]["containers"][1]["image"] = json!("i:v1");
    });
    assert_eq!(
        new,
        "\
# A web server.
metadata:
  annotations:
    first: \"1\"
    nival.dev/environment: acme/web  # the newest
    nival.dev/generation: acme/web:3
    nival.dev/pinned-from: acme/web
    # about the next
    last: x
spec:
  runtimeClassName: nival
  containers:
    # the only one
    - name: web # its name
      image: i:v1
      ports: [{containerPort: 80}]
    - command: [a]
      name: 'b'
      image: i:v1
"
    );
}

#[test]
fn values_change_in_their_own_quotes_and_lines_go() {
    let text = "a: x # one\nb: 'y'\nc: \"z\" # three\nd: w\n";
    let new = changed(text, |value| {
        value["a"] = json!("a b");
        value["b"] = json!("it's");
        value["c"] = json!("yes");
        value.as_object_mut().unwrap().remove("d");
    });
    assert_eq!(new, "a: a b # one\nb: \"it's\"\nc: \"yes\" # three\n");
}

#[test]
fn json_stays_json() {
    let text = "{\n  \"a\": {\n    \"nival.dev/environment\": \"x\"\n  },\n  \"b\": {}, \"c\": {\"d\": \"1\", \"e\": \"2\"}\n}\n";
    let new = changed(text, |value| {
        value["a"]["nival.dev/generation"] = json!("y");
        value["b"]["k"] = json!("v");
        value["c"].as_object_mut().unwrap().remove("d");
        value["c"]["f"] = json!("3");
    });
    let parsed: Value = serde_json::from_str(&new).expect("it is still JSON");
    assert_eq!(
        parsed,
        json!({
            "a": {"nival.dev/environment": "x", "nival.dev/generation": "y"},
            "b": {"k": "v"}, "c": {"e": "2", "f": "3"},
        })
    );
    assert!(
        new.contains("\"x\",\n    \"nival.dev/generation\": \"y\"\n  }"),
        "{new}"
    );
}

#[test]
fn other_documents_line_ends_and_a_missing_last_one_stay() {
    let text = "a: x\r\n---\r\n# nothing\r\n---\r\nb:\r\n- c";
    let documents = read(text).unwrap();
    assert_eq!(documents.len(), 3);
    let wanted = [
        json!({"new": "1", "a": "x"}),
        Value::Null,
        json!({"b": ["d"]}),
    ];
    let new = edit(text, &documents, &wanted).unwrap();
    assert_eq!(
        new,
        "new: \"1\"\r\na: x\r\n---\r\n# nothing\r\n---\r\nb:\r\n- d"
    );
}

#[test]
fn merged_entries_are_read_and_said_outright_when_changed() {
    let text = "base: &base\n  x: \"1\"\n  y: \"2\"\nuse:\n  <<: *base\n  y: \"3\"\n";
    assert_eq!(values(text)[0]["use"], json!({"x": "1", "y": "3"}));
    let new = changed(text, |value| value["use"]["x"] = json!("9"));
    assert_eq!(
        new,
        "base: &base\n  x: \"1\"\n  y: \"2\"\nuse:\n  x: \"9\"\n  <<: *base\n  y: \"3\"\n"
    );
}

#[test]
fn what_cannot_be_changed_in_place_is_left_and_said() {
    for (text, change) in [
        // The other user of the anchor would change, too.
        (
            "a: &a {x: \"1\"}\nb: *a\n",
            json!({"a": {"x": "1"}, "b": {"x": "2"}}),
        ),
        (
            "a: &a\n  x: \"1\"\nb: *a\n",
            json!({"a": {"x": "2"}, "b": {"x": "1"}}),
        ),
        ("a: |\n  text\n", json!({"a": "other"})),
        ("a: [1]\n", json!({"a": [1, 2]})),
    ] {
        let documents = read(text).unwrap();
        edit(text, &documents, &[change]).unwrap_err();
    }
}

#[test]
fn what_is_no_manifest_is_refused_with_its_line() {
    for (text, part) in [
        ("a: {{ .Values.x }}\n", "line 1"),
        ("a: 1\na: 2\n", "line 2: the key \"a\" is there twice"),
        ("a: [\n", "line"),
        ("? [a]\n: b\n", "line 1: a key must be a text"),
        ("a: *nowhere\n", "line 1"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn aliases_of_aliases_do_not_fill_the_memory() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = level - 1;
        let many = vec![format!("*a{before}"); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{many}]\n"));
    }
    let error = read(&text).unwrap_err().to_string();
    assert!(error.contains("more than"), "{error}");
}
