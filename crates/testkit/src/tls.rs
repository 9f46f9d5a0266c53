//! An entrance to the hub that speaks TLS, with a certificate of an authority that nobody knows yet.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::network::inside;
use crate::{Failure, HUB_ADDRESS, World, cluster};

/// A proxy in front of the hub, as administrators put one there.
#[derive(Debug)]
pub struct TlsEntrance {
    port: u16,
    authority: String,
}

impl TlsEntrance {
    /// Starts it, on all addresses of the world's network.
    ///
    /// # Errors
    /// Fails when it cannot listen.
    pub fn start(world: &World) -> Result<Self, Failure> {
        let network = world.network();
        let listener = inside(&network, || Ok(TcpListener::bind("0.0.0.0:0")?))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let authority = Authority::new("a company's own authority")?;
        let acceptor = TlsAcceptor::from(Arc::new(server(&authority)?));
        // It ends with the process, and nothing depends on its end. All of it stays on the thread that is in the network.
        thread::spawn(move || {
            inside(&network, || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(serve(listener, acceptor))
            })
        });
        Ok(Self {
            port,
            authority: authority.pem(),
        })
    }

    /// Returns its address as a cluster's nodes and pods see it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}:{}", cluster::ADDRESS, self.port)
    }

    /// Returns the certificate of its authority.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

fn server(authority: &Authority) -> Result<ServerConfig, Failure> {
    let (certificate, key) = authority.server("hub", &[cluster::ADDRESS])?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let failed = |error| Failure::Text(format!("configuring TLS: {error}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(failed)
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) -> Result<(), Failure> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (client, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // Whoever hangs up on either side, or trusts nobody, ends this connection and no other.
            let mut client = acceptor.accept(client).await?;
            let mut hub = TcpStream::connect(HUB_ADDRESS).await?;
            tokio::io::copy_bidirectional(&mut client, &mut hub).await
        });
    }
}
