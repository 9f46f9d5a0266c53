//! Where settings come from.

use crate::user::User;

#[test]
fn every_setting_says_where_it_comes_from_and_the_token_stays_secret() {
    let user = User::new();
    user.configure("hub = \"http://from-file:1\"\ntoken = \"very-secret\"\n");
    let shown = user
        .types_with(
            user.home(),
            &["config", "show", "--json"],
            &[("NIVAL_NIX", "/opt/nix")],
        )
        .well();
    let settings: serde_json::Value = serde_json::from_str(&shown.data).unwrap();
    assert_eq!(settings["hub"]["value"], "http://from-file:1");
    assert!(
        settings["hub"]["from"]
            .as_str()
            .unwrap()
            .ends_with("config.toml")
    );
    assert_eq!(settings["nix"]["from"], "NIVAL_NIX");
    assert_eq!(settings["token"]["value"], "set");
    assert!(!shown.data.contains("very-secret"));
    let flag = user
        .types(
            user.home(),
            &["config", "show", "--json", "--hub", "http://flag"],
        )
        .well();
    assert!(flag.data.contains("http://flag"), "{}", flag.data);
}

#[test]
fn an_unknown_key_is_refused_with_its_file_and_line() {
    let user = User::new();
    user.configure("hub = \"http://h\"\nsubstituer = []\n");
    user.types(user.home(), &["config", "show"])
        .badly(1, &["config.toml", "substituer", "line 2"]);
}

#[test]
fn wrong_usage_ends_with_2_and_a_hub_that_is_not_there_with_1() {
    let user = User::new();
    user.types(user.home(), &["instal"]).badly(2, &["install"]);
    user.types(user.home(), &["generations", "no reference"])
        .badly(2, &["not a reference"]);
    user.types(
        user.home(),
        &["--hub", "http://127.0.0.1:9", "generations", "demo/app"],
    )
    .badly(1, &["127.0.0.1:9", "hint:"]);
    user.types(
        user.home(),
        &["--hub", "ftp://x", "generations", "demo/app"],
    )
    .badly(1, &["ftp://x", "hint:"]);
}

#[test]
fn the_reference_is_printed_as_markdown() {
    let user = User::new();
    let page = user.types(user.home(), &["reference-markdown"]).well();
    assert!(
        page.data.contains("`nival push`") && page.data.contains("NIVAL_TOKEN"),
        "{}",
        page.data
    );
}

#[test]
fn a_token_is_kept_only_when_the_hub_knows_it() {
    let user = User::new();
    user.configure("# mine\n");
    user.types(user.home(), &["login"])
        .badly(1, &["standard input has no token"]);
    let text = fs_err::read_to_string(user.home().join(".config/nival/config.toml")).unwrap();
    assert_eq!(text, "# mine\n");
}
