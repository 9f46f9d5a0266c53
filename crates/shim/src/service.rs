//! containerd's task service: each request goes to its verb, each error becomes a status.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use containerd_shim::TtrpcResult;
use containerd_shim::api::{
    CheckpointTaskRequest, CloseIORequest, ConnectRequest, ConnectResponse, CreateTaskRequest,
    CreateTaskResponse, DeleteRequest, DeleteResponse, Empty, ExecProcessRequest, KillRequest,
    PauseRequest, PidsRequest, PidsResponse, ResizePtyRequest, ResumeRequest, ShutdownRequest,
    StartRequest, StartResponse, StateRequest, StateResponse, StatsRequest, StatsResponse,
    UpdateTaskRequest, WaitRequest, WaitResponse,
};
use containerd_shim::protos::shim_async::Task;
use log::{info, warn};
use ttrpc::r#async::TtrpcContext;

use crate::error::{Error, Result, one_line};
use crate::server::Shim;
use crate::task;

/// What is kept of the caller's patience at most, and of a short one, for its answer to arrive.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);
const ANSWER_PART: u32 = 3;

/// The task service, in whichever version containerd speaks.
pub(crate) struct Service(pub(crate) Arc<Shim>);

/// Logs a failure beside the answer: containerd's log is where an operator looks first.
fn answer<T>(verb: &str, id: &str, result: Result<T>) -> TtrpcResult<T> {
    result.map_err(|error| {
        match &error {
            Error::Finished | Error::NoContainer { .. } | Error::NoProcess { .. } => {}
            error => warn!("{verb} {id}: {}", one_line(error)),
        }
        error.into()
    })
}

/// Returns until when the caller waits, less what its answer needs. Asked on arrival.
fn until(context: &TtrpcContext) -> Option<Instant> {
    let nanoseconds = u64::try_from(context.timeout_nano)
        .ok()
        .filter(|time| *time > 0)?;
    let time = Duration::from_nanos(nanoseconds);
    Some(Instant::now() + (time - ANSWER_MARGIN.min(time / ANSWER_PART)))
}

/// Runs a verb in a task of its own. The server drops what it waits for at the caller's deadline, and when the
/// connection breaks: a verb that stopped there would leave half of its work behind.
async fn to_its_end<T: Send + 'static>(
    verb: &'static str,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    // The one way to no answer is a panic, which is in the log.
    tokio::spawn(work)
        .await
        .unwrap_or_else(|_panic| Err(Error::Bug { verb }))
}

#[async_trait]
impl Task for Service {
    async fn state(&self, _: &TtrpcContext, request: StateRequest) -> TtrpcResult<StateResponse> {
        let state = task::state(&self.0, &request.id, &request.exec_id);
        answer("state", &request.id, state)
    }

    async fn create(
        &self,
        context: &TtrpcContext,
        request: CreateTaskRequest,
    ) -> TtrpcResult<CreateTaskResponse> {
        let id = request.id.clone();
        info!("create {id}");
        let created = task::create(&self.0, request, until(context)).await;
        let response = |pid| CreateTaskResponse {
            pid,
            ..CreateTaskResponse::default()
        };
        answer("create", &id, created.map(response))
    }

    async fn start(
        &self,
        context: &TtrpcContext,
        request: StartRequest,
    ) -> TtrpcResult<StartResponse> {
        let (shim, id, until) = (self.0.clone(), request.id.clone(), until(context));
        let started = to_its_end("start", async move {
            task::start(&shim, &request.id, &request.exec_id, until).await
        });
        let response = |pid| StartResponse {
            pid,
            ..StartResponse::default()
        };
        answer("start", &id, started.await.map(response))
    }

    async fn delete(
        &self,
        _: &TtrpcContext,
        request: DeleteRequest,
    ) -> TtrpcResult<DeleteResponse> {
        let (shim, id) = (self.0.clone(), request.id.clone());
        let deleted = to_its_end("delete", async move {
            task::delete(&shim, &request.id, &request.exec_id).await
        });
        answer("delete", &id, deleted.await)
    }

    async fn pids(&self, _: &TtrpcContext, request: PidsRequest) -> TtrpcResult<PidsResponse> {
        let response = |processes| PidsResponse {
            processes,
            ..PidsResponse::default()
        };
        let pids = task::pids(&self.0, &request.id).await;
        answer("pids", &request.id, pids.map(response))
    }

    async fn pause(&self, _: &TtrpcContext, request: PauseRequest) -> TtrpcResult<Empty> {
        let (shim, id) = (self.0.clone(), request.id.clone());
        let done = to_its_end(
            "pause",
            async move { task::pause(&shim, &request.id).await },
        );
        empty("pause", &id, done.await)
    }

    async fn resume(&self, _: &TtrpcContext, request: ResumeRequest) -> TtrpcResult<Empty> {
        let (shim, id) = (self.0.clone(), request.id.clone());
        let done = to_its_end(
            "resume",
            async move { task::resume(&shim, &request.id).await },
        );
        empty("resume", &id, done.await)
    }

    async fn checkpoint(
        &self,
        _: &TtrpcContext,
        request: CheckpointTaskRequest,
    ) -> TtrpcResult<Empty> {
        let unsupported = Error::Unsupported {
            verb: "checkpoint",
            reason: "the shim does not drive CRIU; use a runtime that does for this container",
        };
        empty("checkpoint", &request.id, Err(unsupported))
    }

    async fn kill(&self, _: &TtrpcContext, request: KillRequest) -> TtrpcResult<Empty> {
        let (shim, id) = (self.0.clone(), request.id.clone());
        let done = to_its_end("kill", async move { task::kill(&shim, &request).await });
        empty("kill", &id, done.await)
    }

    async fn exec(&self, _: &TtrpcContext, request: ExecProcessRequest) -> TtrpcResult<Empty> {
        empty("exec", &request.id, task::exec(&self.0, &request))
    }

    async fn resize_pty(&self, _: &TtrpcContext, request: ResizePtyRequest) -> TtrpcResult<Empty> {
        empty("resize", &request.id, task::resize_pty(&self.0, &request))
    }

    async fn close_io(&self, _: &TtrpcContext, request: CloseIORequest) -> TtrpcResult<Empty> {
        empty("close", &request.id, task::close_io(&self.0, &request))
    }

    async fn update(&self, _: &TtrpcContext, request: UpdateTaskRequest) -> TtrpcResult<Empty> {
        let (shim, id) = (self.0.clone(), request.id.clone());
        let done = to_its_end("update", async move { task::update(&shim, &request).await });
        empty("update", &id, done.await)
    }

    async fn wait(&self, _: &TtrpcContext, request: WaitRequest) -> TtrpcResult<WaitResponse> {
        let ended = task::wait(&self.0, &request.id, &request.exec_id).await;
        answer("wait", &request.id, ended)
    }

    async fn stats(&self, _: &TtrpcContext, request: StatsRequest) -> TtrpcResult<StatsResponse> {
        answer("stats", &request.id, task::stats(&self.0, &request.id))
    }

    async fn connect(
        &self,
        _: &TtrpcContext,
        request: ConnectRequest,
    ) -> TtrpcResult<ConnectResponse> {
        Ok(task::connect(&self.0, &request.id))
    }

    async fn shutdown(&self, _: &TtrpcContext, _request: ShutdownRequest) -> TtrpcResult<Empty> {
        self.0.shut_down_when_empty();
        Ok(Empty::default())
    }
}

fn empty(verb: &str, id: &str, result: Result<()>) -> TtrpcResult<Empty> {
    answer(verb, id, result.map(|()| Empty::default()))
}
