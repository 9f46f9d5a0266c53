//! An issuer's public keys (a JSON Web Key Set), and what they verify.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;

/// The most keys of a set; issuers have a few, of which one signs.
const MOST_KEYS: usize = 100;

/// How a token is signed: only what two keys suffice for, so that no public key can pass for a shared secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
}

/// A public key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// A point of the curve P-256, uncompressed.
    P256(Vec<u8>),
}

/// Keys by their identifier.
pub(super) type Keys = BTreeMap<String, Arc<Key>>;

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Reads a set. Keys of other kinds, for other uses and without a name are skipped: issuers have them beside ours.
pub(super) fn read(text: &[u8]) -> Result<Keys, serde_json::Error> {
    let set: KeySet = serde_json::from_slice(text)?;
    let mut keys = Keys::new();
    for one in set.keys.into_iter().take(MOST_KEYS) {
        let Ok(jwk) = serde_json::from_value::<Jwk>(one) else {
            continue;
        };
        if let Some(key) = jwk.key() {
            keys.entry(jwk.kid).or_insert_with(|| Arc::new(key));
        }
    }
    Ok(keys)
}

impl Jwk {
    fn key(&self) -> Option<Key> {
        if self
            .purpose
            .as_deref()
            .is_some_and(|purpose| purpose != "sig")
        {
            return None;
        }
        let is = |algorithm: &str| self.alg.as_deref().is_none_or(|one| one == algorithm);
        let decode = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_deref()?).ok();
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) if is("RS256") => Some(Key::Rsa {
                modulus: without_zeros(decode(&self.n)?),
                exponent: without_zeros(decode(&self.e)?),
            }),
            ("EC", Some("P-256")) if is("ES256") => {
                let (x, y) = (decode(&self.x)?, decode(&self.y)?);
                let fits = x.len() == 32 && y.len() == 32;
                fits.then(|| Key::P256([vec![4], x, y].concat()))
            }
            _ => None,
        }
    }
}

/// Numbers are read without the zeros that some issuers put before them.
fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}

impl Key {
    /// Tells whether this key signed this message in this way. RSA keys below 2048 bits verify nothing.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let outcome = match (self, algorithm) {
            (Self::Rsa { modulus, exponent }, Algorithm::Rs256) => {
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Self::P256(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Self::Rsa { .. }, Algorithm::Es256) | (Self::P256(_), Algorithm::Rs256) => {
                return false;
            }
        };
        outcome.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_other_kinds_are_skipped() {
        let coordinate = URL_SAFE_NO_PAD.encode([7; 32]);
        let text = format!(
            r#"{{"keys": [
                {{"kty":"RSA","kid":"rsa","n":"AAEC","e":"AQAB","use":"sig"}},
                {{"kty":"RSA","kid":"rsa","n":"CQ","e":"AQAB"}},
                {{"kty":"EC","kid":"ec","crv":"P-256","x":"{coordinate}","y":"{coordinate}","alg":"ES256"}},
                {{"kty":"RSA","kid":"for-encryption","n":"AQ","e":"AQAB","use":"enc"}},
                {{"kty":"RSA","kid":"pss","n":"AQ","e":"AQAB","alg":"PS256"}},
                {{"kty":"EC","kid":"short","crv":"P-256","x":"AQ","y":"AQ"}},
                {{"kty":"EC","kid":"p384","crv":"P-384","x":"{coordinate}","y":"{coordinate}"}},
                {{"kty":"oct","kid":"shared","k":"AQ"}},
                {{"kty":"RSA","n":"AQ","e":"AQAB"}},
                {{"kty":"RSA","kid":"no-number","n":"!","e":"AQAB"}},
                7
            ]}}"#
        );
        let keys = read(text.as_bytes()).unwrap();
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["ec", "rsa"]);
        let rsa = Key::Rsa {
            modulus: vec![1, 2],
            exponent: vec![1, 0, 1],
        };
        assert_eq!(*keys["rsa"], rsa);
        for wrong in ["", "[]", "{}", "{\"keys\":{}}"] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_verifies_nothing_of_another_algorithm() {
        let rsa = Key::Rsa {
            modulus: vec![1; 256],
            exponent: vec![1, 0, 1],
        };
        assert!(!rsa.verifies(Algorithm::Es256, b"x", &[0; 64]));
        assert!(!rsa.verifies(Algorithm::Rs256, b"x", &[0; 256]));
        assert!(!Key::P256(vec![4; 65]).verifies(Algorithm::Rs256, b"x", &[0; 256]));
        assert!(!Key::P256(vec![4; 65]).verifies(Algorithm::Es256, b"x", &[0; 64]));
    }
}
