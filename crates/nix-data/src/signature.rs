//! Ed25519 keys and signatures in Nix's form, `name:base64`.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::hash::shortened;
use crate::text_serde::serde_as_text;

/// The longest name of a key: none is in use that comes near.
const LONGEST_NAME: usize = 255;

/// What checks signatures; anyone may know it.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

/// What makes signatures. Its `Debug` shows the name only.
#[derive(Clone)]
pub struct SecretKey {
    name: String,
    key: SigningKey,
}

/// A signature with the name of the key that made it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature {
    name: String,
    bytes: [u8; 64],
}

/// Why a text is not a key or signature. It never shows a secret key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no name, colon and value.
    #[error("{kind} is not of the form `name:base64`")]
    Form {
        /// What was being read.
        kind: &'static str,
    },
    /// The name is too long or has blanks or control characters.
    #[error("name {name:?} of a {kind} is not valid: 1 to 255 characters, no blanks, no colon")]
    Name {
        /// What was being read.
        kind: &'static str,
        /// The name, shortened.
        name: String,
    },
    /// The value is not base 64.
    #[error("{kind} {name:?} is not valid base 64")]
    Base64 {
        /// What was being read.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The value has the wrong length.
    #[error("{kind} {name:?} has {found} bytes; it must have {expected}")]
    Length {
        /// What was being read.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The length there is.
        found: usize,
        /// The length there should be.
        expected: usize,
    },
    /// The bytes are no key: not a point of the curve, a weak one, or halves that do not fit.
    #[error("{kind} {name:?} is not an ed25519 key")]
    Invalid {
        /// What was being read.
        kind: &'static str,
        /// Its name.
        name: String,
    },
}

impl PublicKey {
    /// Returns the name, by which signatures name their key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the 32 bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Returns whether the signature names this key and is over exactly these bytes.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        // Strict as libsodium, Nix's own library: one signature has one spelling.
        let bytes = ed25519_dalek::Signature::from_bytes(&signature.bytes);
        signature.name == self.name && self.key.verify_strict(message, &bytes).is_ok()
    }
}

impl SecretKey {
    /// Makes the key that belongs to a seed; the caller brings the randomness.
    ///
    /// # Errors
    /// Fails for a name that no key can have.
    pub fn generate_from_seed(name: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        check_name("secret key", name)?;
        Ok(Self {
            name: name.to_owned(),
            key: SigningKey::from_bytes(&seed),
        })
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the key that others check signatures with.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey {
            name: self.name.clone(),
            key: self.key.verifying_key(),
        }
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature {
            name: self.name.clone(),
            bytes: self.key.sign(message).to_bytes(),
        }
    }

    /// Returns the secret itself, `name:base64`, for the file that keeps it.
    #[must_use]
    pub fn expose(&self) -> String {
        format!(
            "{}:{}",
            self.name,
            BASE64.encode(self.key.to_keypair_bytes())
        )
    }
}

impl Signature {
    /// Returns the name of the key that made it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the 64 bytes of the signature.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.bytes
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = "public key";
        let (name, bytes) = split::<32>(kind, text)?;
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self { name, key }),
            _ => Err(KeyError::Invalid { kind, name }),
        }
    }
}

impl FromStr for SecretKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = "secret key";
        let (name, bytes) = split::<64>(kind, text)?;
        match SigningKey::from_keypair_bytes(&bytes) {
            Ok(key) => Ok(Self { name, key }),
            Err(_) => Err(KeyError::Invalid { kind, name }),
        }
    }
}

impl FromStr for Signature {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, bytes) = split::<64>("signature", text)?;
        Ok(Self { name, bytes })
    }
}

impl Display for PublicKey {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}",
            self.name,
            BASE64.encode(self.key.as_bytes())
        )
    }
}

impl Display for Signature {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.name, BASE64.encode(self.bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({self})")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "SecretKey({}:<redacted>)", self.name)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "Signature({self})")
    }
}

serde_as_text!(PublicKey);
serde_as_text!(Signature);

/// Reads `name:base64` with so many bytes.
fn split<const LENGTH: usize>(
    kind: &'static str,
    text: &str,
) -> Result<(String, [u8; LENGTH]), KeyError> {
    // A key's file ends with a line feed when an editor wrote it.
    let text = text.strip_suffix('\n').unwrap_or(text);
    let (name, value) = text.split_once(':').ok_or(KeyError::Form { kind })?;
    check_name(kind, name)?;
    let name = name.to_owned();
    if value.len() > LENGTH * 2 {
        let found = value.len() / 4 * 3;
        return Err(KeyError::Length {
            kind,
            name,
            found,
            expected: LENGTH,
        });
    }
    let Ok(bytes) = BASE64.decode(value) else {
        return Err(KeyError::Base64 { kind, name });
    };
    match bytes.try_into() {
        Ok(bytes) => Ok((name, bytes)),
        Err(bytes) => {
            let found = bytes.len();
            Err(KeyError::Length {
                kind,
                name,
                found,
                expected: LENGTH,
            })
        }
    }
}

fn check_name(kind: &'static str, name: &str) -> Result<(), KeyError> {
    let wrong = |one: char| one == ':' || one.is_whitespace() || one.is_control();
    if name.is_empty() || name.len() > LONGEST_NAME || name.contains(wrong) {
        return Err(KeyError::Name {
            kind,
            name: shortened(name),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SecretKey {
        SecretKey::generate_from_seed(name, [7; 32]).unwrap()
    }

    #[test]
    fn a_signature_holds_for_its_key_and_message_only() {
        let secret = key("acme-1");
        let public = secret.public_key();
        let signature = secret.sign(b"message");
        assert!(public.verify(b"message", &signature));
        assert!(!public.verify(b"massage", &signature));
        assert!(!key("acme-2").public_key().verify(b"message", &signature));
        let other = SecretKey::generate_from_seed("acme-1", [8; 32]).unwrap();
        assert!(!other.public_key().verify(b"message", &signature));
    }

    #[test]
    fn texts_come_back() {
        let secret = key("acme-1");
        let public = secret.public_key();
        let signature = secret.sign(b"message");
        assert_eq!(public.to_string().parse(), Ok(public));
        assert_eq!(signature.to_string().parse(), Ok(signature.clone()));
        let again: SecretKey = format!("{}\n", secret.expose()).parse().unwrap();
        assert_eq!(again.sign(b"message"), signature);
    }

    #[test]
    fn a_secret_key_is_never_shown() {
        let secret = key("acme-1");
        assert_eq!(format!("{secret:?}"), "SecretKey(acme-1:<redacted>)");
        let base64 = secret.expose().split_once(':').unwrap().1.to_owned();
        let wrong = [
            format!("a b:{base64}"),
            format!("acme-1:{base64}AAAA"),
            format!("n:{base64}="),
        ];
        for text in wrong {
            let error = text.parse::<SecretKey>().unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains(&base64[..16]),
                "{error:?}"
            );
        }
    }

    #[test]
    fn malformed_keys_are_refused_with_the_cause() {
        let error = |text: &str| text.parse::<PublicKey>().unwrap_err();
        let good = key("a").public_key().to_string();
        assert!(matches!(error(""), KeyError::Form { .. }));
        assert!(matches!(error(&good[1..]), KeyError::Name { .. }));
        assert!(matches!(error(&format!(" {good}")), KeyError::Name { .. }));
        assert!(matches!(
            error("a:AAAA"),
            KeyError::Length {
                found: 3,
                expected: 32,
                ..
            }
        ));
        assert!(matches!(error("a:!"), KeyError::Base64 { .. }));
        assert!(matches!(
            error(&good.replace('=', "")),
            KeyError::Base64 { .. }
        ));
        // The neutral element, under which forged signatures would hold.
        let weak = format!("a:AQ{}=", "A".repeat(41));
        assert!(matches!(error(&weak), KeyError::Invalid { .. }));
        // Halves that do not belong together would leak the secret with the first signature.
        let mut halves = BASE64.decode(&key("a").expose()[2..]).unwrap();
        halves[40] ^= 1;
        let text = format!("a:{}", BASE64.encode(halves));
        assert!(matches!(
            text.parse::<SecretKey>(),
            Err(KeyError::Invalid { .. })
        ));
    }
}
