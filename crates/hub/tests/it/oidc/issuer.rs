//! An issuer of tokens: real keys, and a real HTTP server that gives the public ones out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

pub(super) const ISSUER: &str = "https://kubernetes.default.svc";
pub(super) const AUDIENCE: &str = "nival-hub";

/// A key that signs tokens.
pub(super) enum Key {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl Key {
    pub(super) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::from_pkcs8(include_bytes!("rsa-2048.pk8")).unwrap())
    }

    pub(super) fn p256() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
    }

    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
        }
    }

    /// Its public half, as an entry of a set.
    pub(super) fn public(&self, id: &str) -> Value {
        match self {
            Self::Rsa(key) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({
                    "kty": "RSA", "kid": id, "use": "sig", "alg": "RS256",
                    "n": encode(&public.n),
                    "e": encode(&public.e),
                })
            }
            Self::P256(key) => {
                let point = key.public_key().as_ref();
                json!({
                    "kty": "EC", "crv": "P-256", "kid": id,
                    "x": encode(&point[1..33]), "y": encode(&point[33..]),
                })
            }
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Self::P256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
        }
    }

    /// A token of a subject, valid for an hour.
    pub(super) fn token(&self, id: &str, subject: &str) -> String {
        let header = json!({"alg": self.algorithm(), "kid": id, "typ": "JWT"});
        self.token_of(&header, &claims(subject))
    }

    pub(super) fn token_of(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = encode(&self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// What a good token says.
pub(super) fn claims(subject: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": ["https://other", AUDIENCE], "sub": subject,
        "exp": now() + 3600, "nbf": now(), "iat": now(), "jti": "0123", "kubernetes.io": {"namespace": "x"},
    })
}

/// What a token's signature covers.
pub(super) fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| encode(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// Returns a set of keys as issuers give it out.
pub(super) fn set(keys: &[(&str, &Key)]) -> String {
    let keys: Vec<Value> = keys.iter().map(|(id, key)| key.public(id)).collect();
    json!({ "keys": keys }).to_string()
}

/// An HTTP server with one document.
pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    status: u16,
    body: String,
    requests: Vec<String>,
    is_over: bool,
}

impl Server {
    pub(super) fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let state = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.lock().unwrap().is_over {
                    return;
                }
                let stream = stream.unwrap();
                match &tls {
                    None => answer(stream, &state),
                    Some(config) => {
                        let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                        answer(StreamOwned::new(connection, stream), &state);
                    }
                }
            }
        });
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers so from now on.
    pub(super) fn serve(&self, status: u16, body: &str) {
        let mut shared = self.shared.lock().unwrap();
        shared.status = status;
        body.clone_into(&mut shared.body);
    }

    /// Returns the heads of all requests.
    pub(super) fn requests(&self) -> Vec<String> {
        self.shared.lock().unwrap().requests.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.lock().unwrap().is_over = true;
        // It looks when somebody comes.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Answers one request. A client that breaks off, such as one that believes no certificate, is none.
fn answer(mut stream: impl Read + Write, shared: &Mutex<Shared>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let mut shared = shared.lock().unwrap();
    shared
        .requests
        .push(String::from_utf8_lossy(&head).to_lowercase());
    let (status, body) = (shared.status, shared.body.clone());
    drop(shared);
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\nlocation: /elsewhere\r\n\r\n{body}"
    );
    drop(stream.write_all(text.as_bytes()));
    drop(stream.flush());
}
