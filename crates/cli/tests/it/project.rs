//! Projects, without Nix.

use crate::user::User;

#[test]
fn init_makes_a_manifest_once() {
    let user = User::new();
    let folder = user.folder("app");
    user.types(&folder, &["init", "--name", "demo/app"]).well();
    let manifest = fs_err::read_to_string(folder.join(".nival/manifest.toml")).unwrap();
    assert!(manifest.contains("[install]"), "{manifest}");
    assert_eq!(
        fs_err::read_to_string(folder.join(".nival/.gitignore")).unwrap(),
        "/state/\n"
    );
    let remote = fs_err::read_to_string(folder.join(".nival/remote.toml")).unwrap();
    assert!(remote.contains("environment = \"demo/app\""), "{remote}");
    user.types(&folder, &["init"])
        .badly(1, &["manifest.toml", "already"]);
}

#[test]
fn commands_outside_a_project_say_how_to_make_one() {
    let user = User::new();
    let folder = user.folder("empty");
    for command in [
        &["install", "python3"][..],
        &["lock"],
        &["list"],
        &["activate"],
        &["push", "a/b"],
    ] {
        user.types(&folder, command)
            .badly(1, &["manifest.toml", "nival init"]);
    }
}

#[test]
fn a_manifest_that_is_wrong_is_shown_with_its_line() {
    let user = User::new();
    let folder = user.folder("app");
    user.types(&folder, &["init"]).well();
    let path = folder.join(".nival/manifest.toml");
    fs_err::write(
        &path,
        "version = 1\n[instal]\npython3.pkg-path = \"python3\"\n",
    )
    .unwrap();
    user.types(&folder, &["lock"])
        .badly(1, &["manifest.toml:2", "instal", "install"]);
    user.types(&folder, &["lock", "--check"])
        .badly(1, &["manifest.toml:2"]);
}

#[test]
fn a_missing_lock_is_not_up_to_date() {
    let user = User::new();
    let folder = user.folder("app");
    user.types(&folder, &["init"]).well();
    user.types(&folder, &["lock", "--check"])
        .badly(3, &["manifest.lock", "nival lock"]);
    user.types(&folder, &["push", "demo/app"])
        .badly(3, &["not locked yet"]);
    user.types(&folder, &["push"]).badly(2, &["OWNER/NAME"]);
}

#[test]
fn a_machine_without_nix_is_told_so_and_nothing_changes() {
    let user = User::new();
    let folder = user.folder("app");
    user.types(&folder, &["init"]).well();
    let manifest = fs_err::read(folder.join(".nival/manifest.toml")).unwrap();
    user.types(&folder, &["--nix", "/no/such/nix", "install", "python3"])
        .badly(1, &["/no/such/nix", "NIVAL_NIX"]);
    assert_eq!(
        fs_err::read(folder.join(".nival/manifest.toml")).unwrap(),
        manifest
    );
    assert!(!folder.join(".nival/manifest.lock").exists());
}
