//! The client of a shim's task service, in whichever version.

use containerd_shim::api::{
    CheckpointTaskRequest, CloseIORequest, ConnectRequest, ConnectResponse, CreateTaskRequest,
    CreateTaskResponse, DeleteRequest, DeleteResponse, Empty, ExecProcessRequest, KillRequest,
    PauseRequest, PidsRequest, PidsResponse, ResizePtyRequest, ResumeRequest, ShutdownRequest,
    StartRequest, StartResponse, StateRequest, StateResponse, StatsRequest, StatsResponse,
    UpdateTaskRequest, WaitRequest, WaitResponse,
};
use containerd_shim::protos::shim_async::Client;
use protobuf::Message;
use ttrpc::context::Context;

/// The messages are the same in both versions, the service's name is not.
pub(crate) struct Task {
    client: Client,
    service: &'static str,
}

impl Task {
    pub(crate) fn new(client: Client, service: &'static str) -> Self {
        Self { client, service }
    }

    async fn call<A: Message>(
        &self,
        context: Context,
        method: &str,
        request: &impl Message,
    ) -> ttrpc::Result<A> {
        let request = ttrpc::Request {
            service: self.service.into(),
            method: method.into(),
            timeout_nano: context.timeout_nano,
            payload: request.write_to_bytes().unwrap(),
            ..ttrpc::Request::default()
        };
        let answer = self.client.request(request).await?;
        Ok(A::parse_from_bytes(&answer.payload).unwrap())
    }
}

macro_rules! verbs {
    ($($verb:ident $method:literal $request:ident $answer:ident;)+) => {
        impl Task {
            $(pub(crate) async fn $verb(
                &self,
                context: Context,
                request: &$request,
            ) -> ttrpc::Result<$answer> {
                self.call(context, $method, request).await
            })+
        }
    };
}

verbs! {
    state "State" StateRequest StateResponse;
    create "Create" CreateTaskRequest CreateTaskResponse;
    start "Start" StartRequest StartResponse;
    delete "Delete" DeleteRequest DeleteResponse;
    pids "Pids" PidsRequest PidsResponse;
    pause "Pause" PauseRequest Empty;
    resume "Resume" ResumeRequest Empty;
    checkpoint "Checkpoint" CheckpointTaskRequest Empty;
    kill "Kill" KillRequest Empty;
    exec "Exec" ExecProcessRequest Empty;
    resize_pty "ResizePty" ResizePtyRequest Empty;
    close_io "CloseIO" CloseIORequest Empty;
    update "Update" UpdateTaskRequest Empty;
    wait "Wait" WaitRequest WaitResponse;
    stats "Stats" StatsRequest StatsResponse;
    connect "Connect" ConnectRequest ConnectResponse;
    shutdown "Shutdown" ShutdownRequest Empty;
}
