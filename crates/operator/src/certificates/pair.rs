//! A certificate with its key, and the authority that signed it and nothing else.

use std::time::{Duration, SystemTime};

use k8s_openapi::jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};

/// How far the clocks of a cluster may be apart.
const SKEW: Duration = Duration::from_secs(3600);

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pair {
    /// Whom the API server has to trust.
    pub(super) authority: String,
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) made: Timestamp,
    pub(super) expires: Timestamp,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Pair(expires {})", self.expires)
    }
}

impl Pair {
    /// Makes one. The authority's key is thrown away: nobody can ever sign another certificate with it.
    pub(super) fn new(
        names: &[String],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Self, rcgen::Error> {
        let expires = now.checked_add(lifetime).unwrap_or(Timestamp::MAX);
        let dated = |mut params: CertificateParams, name: &str| {
            params.not_before = SystemTime::from(now)
                .checked_sub(SKEW)
                .unwrap_or(SystemTime::UNIX_EPOCH)
                .into();
            params.not_after = SystemTime::from(expires).into();
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let mut authority = dated(CertificateParams::default(), "nival-operator authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let mut server = dated(CertificateParams::new(names)?, "nival-operator");
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &authority)?;
        Ok(Self {
            authority: authority.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            made: now,
            expires,
        })
    }
}
