//! A small agent: answers what a test tells it to, and remembers what it was asked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use api::agent::{
    Agent, CollectRequest, CollectResponse, PrefetchRequest, PrefetchResponse, PrepareRequest,
    PrepareResponse, ReleaseRequest, ReleaseResponse, StatusRequest, StatusResponse, create_agent,
};
use async_trait::async_trait;
use ttrpc::r#async::{Server, TtrpcContext};
use ttrpc::{Code, get_status};

use crate::bundle::Bundle;
use crate::containerd::until;

type Answer = Result<PrepareResponse, (Code, String)>;

/// How the agent behaves.
#[derive(Clone)]
enum Behaviour {
    Answers(Box<Answer>),
    /// Takes questions and never answers.
    IsSilent,
}

/// What the agent was asked.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) prepared: Vec<PrepareRequest>,
    pub(crate) released: Vec<String>,
}

pub(crate) struct TestAgent {
    pub(crate) socket: PathBuf,
    asked: Arc<Mutex<Asked>>,
    server: Server,
}

struct Service {
    behaviour: Behaviour,
    asked: Arc<Mutex<Asked>>,
}

#[async_trait]
impl Agent for Service {
    async fn prepare(
        &self,
        _: &TtrpcContext,
        request: PrepareRequest,
    ) -> ttrpc::Result<PrepareResponse> {
        self.asked.lock().unwrap().prepared.push(request);
        let failed = |(code, text)| ttrpc::Error::RpcStatus(get_status(code, text));
        match &self.behaviour {
            Behaviour::Answers(answer) => answer.as_ref().clone().map_err(failed),
            Behaviour::IsSilent => std::future::pending().await,
        }
    }

    async fn release(
        &self,
        _: &TtrpcContext,
        request: ReleaseRequest,
    ) -> ttrpc::Result<ReleaseResponse> {
        self.asked.lock().unwrap().released.push(request.bundle);
        match self.behaviour {
            Behaviour::Answers(_) => Ok(ReleaseResponse::default()),
            Behaviour::IsSilent => std::future::pending().await,
        }
    }

    async fn prefetch(
        &self,
        _: &TtrpcContext,
        _: PrefetchRequest,
    ) -> ttrpc::Result<PrefetchResponse> {
        Ok(PrefetchResponse::default())
    }

    async fn status(&self, _: &TtrpcContext, _: StatusRequest) -> ttrpc::Result<StatusResponse> {
        Ok(StatusResponse::default())
    }

    async fn collect(&self, _: &TtrpcContext, _: CollectRequest) -> ttrpc::Result<CollectResponse> {
        Ok(CollectResponse::default())
    }
}

impl TestAgent {
    pub(crate) async fn start(folder: &Path, answer: Answer) -> Self {
        Self::behaving(folder, Behaviour::Answers(Box::new(answer))).await
    }

    /// Starts an agent that takes questions and never answers.
    pub(crate) async fn silent(folder: &Path) -> Self {
        Self::behaving(folder, Behaviour::IsSilent).await
    }

    async fn behaving(folder: &Path, behaviour: Behaviour) -> Self {
        let socket = folder.join("agent.sock");
        let asked = Arc::new(Mutex::new(Asked::default()));
        let service = Service {
            behaviour,
            asked: asked.clone(),
        };
        let mut server = Server::new()
            .bind(&format!("unix://{}", socket.display()))
            .unwrap()
            .register_service(create_agent(Arc::new(service)));
        server.start().await.unwrap();
        Self {
            socket,
            asked,
            server,
        }
    }

    /// Breaks all connections, as the end of the agent does.
    pub(crate) async fn die(&mut self) {
        self.server.shutdown().await.unwrap();
        fs_err::remove_file(&self.socket).ok();
    }

    /// What it was asked, for who watches while something else is done to it.
    pub(crate) fn asked_for(&self) -> Arc<Mutex<Asked>> {
        self.asked.clone()
    }

    pub(crate) fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap()
    }

    /// Waits until it was asked to end the lease of a bundle, which nobody's answer waits for.
    pub(crate) async fn is_asked_to_release(&self, bundle: &Bundle) {
        let path = bundle.path.display().to_string();
        until("the lease to be given back", || {
            self.asked().released.contains(&path)
        })
        .await;
    }
}
