//! Certificate authorities of tests: made anew each time, and trusted by nobody who is not told to.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

use crate::Failure;

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Makes one.
    pub(crate) fn new(name: &str) -> Result<Self, Failure> {
        let mut own = CertificateParams::default();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        own.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        own.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().map_err(failed)?;
        Ok(Self(
            CertifiedIssuer::self_signed(own, key).map_err(failed)?,
        ))
    }

    /// Returns its certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Makes a server's certificate for these names and addresses, and its key.
    pub(crate) fn server(
        &self,
        name: &str,
        hosts: &[&str],
    ) -> Result<(rcgen::Certificate, KeyPair), Failure> {
        let hosts: Vec<String> = hosts.iter().map(|&one| one.to_owned()).collect();
        let mut server = CertificateParams::new(hosts).map_err(failed)?;
        server.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = server.signed_by(&key, &self.0).map_err(failed)?;
        Ok((certificate, key))
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is handed to `map_err` by its name"
)]
pub(crate) fn failed(error: rcgen::Error) -> Failure {
    Failure::Text(format!("making a certificate: {error}"))
}
