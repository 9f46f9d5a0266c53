//! What hashes are read from and written as.

use super::*;

const EMPTY_SRI: &str = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

#[test]
fn every_spelling_is_read_as_the_same_hash() {
    let hash = Hash::sha256(b"");
    for text in [
        EMPTY_SRI,
        "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
    ] {
        assert_eq!(text.parse(), Ok(hash.clone()), "{text}");
    }
    assert_eq!(hash.to_string(), EMPTY_SRI);
    assert_eq!(hash.as_sha256().map(|digest| digest[0]), Some(0xe3));
}

#[test]
fn every_algorithm_keeps_its_length() {
    for algorithm in [
        HashAlgorithm::Md5,
        HashAlgorithm::Sha1,
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha512,
    ] {
        let digest = vec![7; algorithm.length()];
        let hash = Hash::from_digest(algorithm, &digest).unwrap();
        assert_eq!(hash.digest(), digest);
        assert_eq!(hash.to_sri().parse(), Ok(hash.clone()));
        assert_eq!(hash.to_nix32().parse(), Ok(hash.clone()));
        assert_eq!(format!("{algorithm}:{}", hash.to_hex()).parse(), Ok(hash));
    }
}

#[test]
fn wrong_hashes_are_refused_with_the_cause() {
    let error = |text: &str| text.parse::<Hash>().unwrap_err();
    assert!(matches!(error(""), HashError::NoAlgorithm { .. }));
    assert!(matches!(error("blake3:00"), HashError::Algorithm { .. }));
    assert!(matches!(
        error("sha256:00"),
        HashError::Length { length: 2, .. }
    ));
    assert!(matches!(
        error("sha256-AAAA"),
        HashError::Bytes { found: 3, .. }
    ));
    assert!(matches!(
        error(&format!("sha1:{}", "g".repeat(40))),
        HashError::Base16 { .. }
    ));
    assert!(matches!(
        error(&format!("sha1:{}", "e".repeat(32))),
        HashError::Base32 { .. }
    ));
    assert!(matches!(
        error(&EMPTY_SRI.replace("FU=", "FV=")),
        HashError::Base64 { .. }
    ));
    assert!(matches!(
        error(EMPTY_SRI.trim_end_matches('=')),
        HashError::Base64 { .. }
    ));
    assert!(
        error(&format!("sha256:{}", "x".repeat(9_999)))
            .to_string()
            .len()
            < 400
    );
}

#[test]
fn json_is_the_sri_string() {
    let hash = Hash::sha256(b"");
    let json = serde_json::to_string(&hash).unwrap();
    assert_eq!(json, format!("\"{EMPTY_SRI}\""));
    assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);
}
