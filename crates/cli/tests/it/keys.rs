//! Making and trusting keys.

use std::os::unix::fs::PermissionsExt as _;

use crate::user::User;

#[test]
fn a_generated_key_is_shown_listed_and_trusted() {
    let user = User::new();
    let made = user
        .types(user.home(), &["key", "generate", "acme-1"])
        .well();
    assert!(made.data.starts_with("acme-1:"), "{}", made.data);
    let secret = user.home().join(".config/nival/keys/acme-1.secret");
    assert_eq!(
        fs_err::metadata(&secret).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let shown = user.types(user.home(), &["key", "show"]).well();
    assert_eq!(shown.data, made.data);

    user.types(user.home(), &["key", "trust", "acme", made.data.trim()])
        .well();
    let listed = user.types(user.home(), &["key", "list", "--json"]).well();
    let list: serde_json::Value = serde_json::from_str(&listed.data).unwrap();
    assert_eq!(list["own"][0]["name"], "acme-1");
    assert_eq!(list["own"][0]["signs"], true);
    assert_eq!(list["trusted"][0]["owner"], "acme");
    assert_eq!(list["trusted"][0]["public"], made.data.trim());
    assert!(
        !listed
            .data
            .contains(fs_err::read_to_string(&secret).unwrap().trim())
    );
}

#[test]
fn a_key_is_never_overwritten() {
    let user = User::new();
    user.types(user.home(), &["key", "generate", "acme-1"])
        .well();
    let secret = user.home().join(".config/nival/keys/acme-1.secret");
    let before = fs_err::read(&secret).unwrap();
    user.types(user.home(), &["key", "generate", "acme-1"])
        .badly(1, &["acme-1", "hint:"]);
    assert_eq!(fs_err::read(&secret).unwrap(), before);
    user.types(user.home(), &["key", "generate", "../acme"])
        .badly(1, &["not a name for a key"]);
}

#[test]
fn what_is_no_public_key_is_not_trusted_and_the_file_stays() {
    let user = User::new();
    user.configure("# my settings\nhub = \"http://127.0.0.1:1\"\n");
    user.types(user.home(), &["key", "trust", "acme", "acme-1:nonsense"])
        .badly(1, &["acme-1:nonsense"]);
    user.types(user.home(), &["key", "trust", "UPPER", "x:y"])
        .badly(1, &["UPPER"]);
    let text = fs_err::read_to_string(user.home().join(".config/nival/config.toml")).unwrap();
    assert_eq!(text, "# my settings\nhub = \"http://127.0.0.1:1\"\n");
}

#[test]
fn several_keys_need_a_choice() {
    let user = User::new();
    user.types(user.home(), &["key", "show"])
        .badly(1, &["nival key generate"]);
    user.types(user.home(), &["key", "generate", "a-1"]).well();
    let second = user.types(user.home(), &["key", "generate", "b-1"]).well();
    user.types(user.home(), &["key", "show"])
        .badly(1, &["a-1, b-1", "signing_key"]);
    let chosen = user
        .types_with(
            user.home(),
            &["key", "show"],
            &[("NIVAL_SIGNING_KEY", "b-1")],
        )
        .well();
    assert_eq!(chosen.data, second.data);
    user.types_with(
        user.home(),
        &["key", "show"],
        &[("NIVAL_SIGNING_KEY", "c-1")],
    )
    .badly(1, &["c-1", "a-1, b-1"]);
}
