//! A token as it comes: three parts, of which nothing is believed before the signature was checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};

use super::keys::Algorithm;
use super::{IdentityError, shown};

/// A token's parts.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: String,
    pub(super) claims: Claims,
    /// What the signature covers.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
}

/// What it says. Claims that nothing here asks for are skipped.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(rename = "iss")]
    pub(super) issuer: String,
    #[serde(rename = "sub")]
    pub(super) subject: String,
    #[serde(rename = "aud")]
    pub(super) audience: Audience,
    #[serde(rename = "exp", deserialize_with = "seconds")]
    pub(super) expires: i64,
    #[serde(rename = "nbf", default, deserialize_with = "some_seconds")]
    pub(super) not_before: Option<i64>,
}

/// For whom it is.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<Value>,
}

impl Audience {
    pub(super) fn has(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Several(all) => all.iter().any(|one| one == wanted),
        }
    }
}

impl<'a> Token<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, IdentityError> {
        let malformed = IdentityError::Malformed;
        let (signed, signature) = text.rsplit_once('.').ok_or(malformed("it has no parts"))?;
        let (header, claims) = signed.split_once('.').ok_or(malformed("it has no parts"))?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header = decode(header).and_then(|bytes| serde_json::from_slice::<Header>(&bytes).ok());
        let header = header.ok_or(malformed("its header cannot be read"))?;
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::Rs256,
            "ES256" => Algorithm::Es256,
            other => {
                let algorithm = shown(other);
                return Err(IdentityError::Algorithm { algorithm });
            }
        };
        if header.crit.is_some() {
            return Err(malformed("its header asks for an extension"));
        }
        let key_id = header.kid.ok_or(malformed("its header names no key"))?;
        let claims = decode(claims).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Self {
            algorithm,
            key_id,
            claims: claims.ok_or(malformed(
                "its claims cannot be read: iss, sub, aud and exp are needed",
            ))?,
            signed,
            signature: decode(signature).ok_or(malformed("its signature cannot be read"))?,
        })
    }
}

/// Reads a time in seconds since 1970, which may have a fraction.
fn seconds<'de, D: Deserializer<'de>>(source: D) -> Result<i64, D::Error> {
    whole(&Number::deserialize(source)?)
}

fn some_seconds<'de, D: Deserializer<'de>>(source: D) -> Result<Option<i64>, D::Error> {
    let number = Option::<Number>::deserialize(source)?;
    number.as_ref().map(whole).transpose()
}

fn whole<E: serde::de::Error>(number: &Number) -> Result<i64, E> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast of a float saturates"
    )]
    let rounded = || {
        number
            .as_f64()
            .filter(|one| one.is_finite())
            .map(|one| one as i64)
    };
    number
        .as_i64()
        .or_else(rounded)
        .ok_or_else(|| E::custom("no time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(header), part(claims), part("signature"))
    }

    const HEADER: &str = r#"{"alg":"RS256","kid":"one"}"#;
    const CLAIMS: &str = r#"{"iss":"i","sub":"s","aud":["a","b"],"exp":1.5,"nbf":1,"more":{}}"#;

    #[test]
    fn a_token_is_read_with_what_is_not_needed_skipped() {
        let text = token(HEADER, CLAIMS);
        let token = Token::read(&text).unwrap();
        assert_eq!(
            (token.key_id.as_str(), token.claims.subject.as_str()),
            ("one", "s")
        );
        assert_eq!(
            (token.claims.expires, token.claims.not_before),
            (1, Some(1))
        );
        assert!(token.claims.audience.has("b") && !token.claims.audience.has("c"));
        assert_eq!(token.signature, b"signature");
        assert!(text.starts_with(token.signed));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let twice = CLAIMS.replace("\"sub\":\"s\"", "\"sub\":\"s\",\"sub\":\"admin\"");
        for text in [
            String::new(),
            "..".to_owned(),
            "a.b".to_owned(),
            token("{}", CLAIMS),
            token("[]", CLAIMS),
            token(r#"{"alg":"RS256"}"#, CLAIMS),
            token(r#"{"alg":"RS256","kid":1}"#, CLAIMS),
            token(r#"{"alg":"RS256","kid":"one","crit":["x"]}"#, CLAIMS),
            token(HEADER, "{}"),
            token(HEADER, &twice),
            token(HEADER, &CLAIMS.replace("1.5", "\"1\"")),
            token(HEADER, &CLAIMS.replace("\"exp\":1.5,", "")),
            format!("{}=", token(HEADER, CLAIMS)),
            format!("{}.x", token(HEADER, CLAIMS)),
        ] {
            let error = Token::read(&text).unwrap_err();
            assert!(
                matches!(error, IdentityError::Malformed(_)),
                "{text}: {error}"
            );
        }
        for algorithm in [
            "none", "None", "HS256", "RS384", "PS256", "ES384", "EdDSA", "",
        ] {
            let header = HEADER.replace("RS256", algorithm);
            let error = Token::read(&token(&header, CLAIMS)).unwrap_err();
            assert!(
                matches!(error, IdentityError::Algorithm { .. }),
                "{algorithm}"
            );
        }
    }
}
