//! Keys and signatures against those of the real Nix.

use std::io::Write as _;

use fs_err as fs;
use nix_data::{PublicKey, SecretKey};
use testkit::nix::Nix;

#[test]
fn keys_of_nix_are_ours() {
    testkit::require!(nix);
    for nix in Nix::every().unwrap() {
        let text = nix
            .text(&["key", "generate-secret", "--key-name", "acme.example-1"])
            .unwrap();
        let secret: SecretKey = text.parse().unwrap();
        assert_eq!(secret.name(), "acme.example-1");
        assert_eq!(secret.expose(), text);
        let convert = nix.command(&["key", "convert-secret-to-public"]);
        let (success, public, said) = Nix::with_input(convert, text.as_bytes()).unwrap();
        assert!(success, "{said}");
        assert_eq!(
            String::from_utf8(public).unwrap(),
            secret.public_key().to_string()
        );
    }
}

#[test]
fn our_keys_are_taken_by_nix() {
    testkit::require!(nix);
    let secret = SecretKey::generate_from_seed("ours-1", [42; 32]).unwrap();
    for nix in Nix::every().unwrap() {
        let convert = nix.command(&["key", "convert-secret-to-public"]);
        let (success, public, said) = Nix::with_input(convert, secret.expose().as_bytes()).unwrap();
        assert!(success, "{said}");
        let public: PublicKey = String::from_utf8(public).unwrap().parse().unwrap();
        assert_eq!(public, secret.public_key());
    }
}

#[test]
fn signatures_of_nix_are_ours_to_the_last_bit() {
    testkit::require!(nix);
    let secret = SecretKey::generate_from_seed("ours-1", [42; 32]).unwrap();
    for nix in Nix::every().unwrap() {
        let key_file = nix.folder().join("key");
        fs::File::create(&key_file)
            .unwrap()
            .write_all(secret.expose().as_bytes())
            .unwrap();
        let expression = r#"let a = builtins.toFile "a" "a"; in builtins.toFile "b" "${a}""#;
        let path = nix.text(&["eval", "--raw", "--expr", expression]).unwrap();
        nix.text(&[
            "store",
            "sign",
            "--key-file",
            key_file.to_str().unwrap(),
            &path,
        ])
        .unwrap();
        let json = nix.text(&["path-info", "--json", &path]).unwrap();
        // The shape of this JSON changes between versions; the signature's text does not.
        let start = json
            .find("\"ours-1:")
            .expect("the path has our key's signature")
            + 1;
        let signature = &json[start..start + json[start..].find('"').unwrap()];
        let contents = fs::read_to_string(nix.real_path(&path)).unwrap();
        let nar = crate::trees::nar(&crate::trees::file(contents.as_bytes()));
        let hash = nix_data::Hash::sha256(&nar).to_nix32();
        let fingerprint = format!("1;{path};{hash};{};{contents}", nar.len());
        assert_eq!(signature, secret.sign(fingerprint.as_bytes()).to_string());
        let signature = signature.parse().unwrap();
        assert!(
            secret
                .public_key()
                .verify(fingerprint.as_bytes(), &signature)
        );
    }
}
