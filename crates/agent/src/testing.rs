//! Stand-ins for the hub, and what an agent has of it.

use std::path::Path;

use axum::Router;
use tokio::net::TcpListener;

use crate::args::Global;
use crate::error::AgentError;
use crate::hub::Hub;
use crate::settings::Settings;

/// Serves a hub's answers, and returns its address.
pub(crate) async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    host::tls::install();
    address
}

/// Returns what an agent has of this hub after a start in this folder.
pub(crate) fn hub(folder: &Path, address: &str, more: &str) -> Result<Hub, AgentError> {
    let file = folder.join("agent.toml");
    fs_err::write(&file, format!("hub = \"{address}\"\n{more}")).unwrap();
    let global = Global {
        config: Some(file),
        state: Some(folder.to_owned()),
        socket: None,
    };
    let (settings, _) = Settings::load(&global, None).unwrap();
    Hub::new(&settings, reqwest::Client::new())
}
