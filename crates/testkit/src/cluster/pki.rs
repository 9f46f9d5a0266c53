//! Who is who in a cluster: its authority, the API server's certificate, and tokens for everybody else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;

use super::lan::ADDRESS;
use crate::Failure;
use crate::authority::{Authority, failed};

/// The API server's address inside of pods.
const SERVICE_ADDRESS: &str = "10.96.0.1";

/// Keys, certificates and tokens of one cluster.
#[derive(Debug)]
pub(super) struct Pki {
    pub(super) authority: String,
    pub(super) certificate: String,
    pub(super) key: String,
    /// Signs the tokens of service accounts.
    pub(super) accounts_key: String,
    pub(super) accounts_public_key: String,
    /// The API server's file of tokens.
    pub(super) tokens: String,
}

impl Pki {
    pub(super) fn new(nodes: u8) -> Result<Self, Failure> {
        let authority = Authority::new("cluster authority")?;
        let names = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "localhost",
            "127.0.0.1",
            ADDRESS,
            SERVICE_ADDRESS,
        ];
        let (certificate, key) = authority.server("kube-apiserver", &names)?;
        let accounts = KeyPair::generate().map_err(failed)?;
        Ok(Self {
            authority: authority.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            accounts_key: accounts.serialize_pem(),
            accounts_public_key: accounts.public_key_pem(),
            tokens: tokens(nodes),
        })
    }

    /// Returns the configuration of a client with this token.
    pub(super) fn client(&self, token: &str) -> String {
        let encoded = STANDARD.encode(&self.authority);
        format!(
            "apiVersion: v1\nkind: Config\n\
             clusters: [{{name: cluster, cluster: {{server: \"https://{ADDRESS}:6443\", certificate-authority-data: {encoded}}}}}]\n\
             users: [{{name: user, user: {{token: {token}}}}}]\n\
             contexts: [{{name: cluster, context: {{cluster: cluster, user: user}}}}]\n\
             current-context: cluster\n"
        )
    }
}

/// Each line: token, name, number, groups. A cluster lives on one machine and for a while, so a name is token enough.
fn tokens(nodes: u8) -> String {
    let mut lines = vec![
        "admin,admin,1,\"system:masters\"".to_owned(),
        "kube-controller-manager,system:kube-controller-manager,2".to_owned(),
        "kube-scheduler,system:kube-scheduler,3".to_owned(),
        "kube-proxy,system:kube-proxy,4".to_owned(),
    ];
    lines.extend(
        (1..=nodes).map(|number| {
            format!("node{number},system:node:node{number},1{number},\"system:nodes\"")
        }),
    );
    lines.join("\n") + "\n"
}
