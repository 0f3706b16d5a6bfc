//! A BuildKit session: the engine asks, and we answer, for as long as the build runs.
//!
//! The engine is handed a connection (`POST /session`, upgraded to HTTP/2) on which it is the client:
//! it asks for the files it does not have yet, for secrets and for registry logins. Formats: the
//! services `moby.filesync.v1`, `moby.buildkit.secrets.v1` and `grpc.health.v1`, as
//! `github.com/moby/buildkit/session` has them.

mod answers;
mod choice;
mod diff;

use super::{
    trouble::Trouble,
    wire::{self, Task},
};
use crate::{client::DockerClient, context::Files};
use answers::{Healthy, Logins, Vault};
use bollard::{
    auth::DockerCredentials,
    health::health_server::HealthServer,
    moby::{
        buildkit::secrets::v1::secrets_server::SecretsServer,
        filesync::{packet::file_sync_server::FileSyncServer, v1::auth_server::AuthServer},
    },
};
use diff::Sync;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, server::conn::http2};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    service::TowerToHyperService,
};
use kiln::{BuildId, Error, ErrorKind, Result, secret::Secret};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tonic::service::Routes;

const METHODS: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.filesync.v1.FileSync/DiffCopy",
];
/// How much the engine may send us in one call ahead of what we read: it only ever asks for things.
const WINDOW_BYTES: u32 = 1 << 20;
/// The same for all calls together. By its half, HTTP/2 counts small frames that wait, and asking for
/// many files takes many of them.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// What the engine may ask for.
#[derive(Debug, Default)]
pub(super) struct Offer {
    /// Directories by name: `context` and `dockerfile`.
    pub(super) directories: HashMap<&'static str, Arc<Files>>,
    /// What the engine keeps the files under, to be asked only for what changed since.
    pub(super) shared_key: String,
    /// Secrets by the id that a recipe uses.
    pub(super) secrets: BTreeMap<String, Secret>,
    /// Logins by registry.
    pub(super) logins: HashMap<String, DockerCredentials>,
}

/// A session that the engine knows. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    _served: Task,
}

impl Session {
    /// Opens a session. `Unsupported` if something on the way does not let the engine ask.
    pub(super) async fn open(
        client: &DockerClient,
        offer: Offer,
        trouble: Trouble,
    ) -> Result<Self> {
        let id = BuildId::random().to_string();
        let mut request = Request::post("/session")
            .header("Connection", "Upgrade")
            .header("Upgrade", "h2c")
            .header("X-Docker-Expose-Session-Uuid", &id)
            .header("X-Docker-Expose-Session-Name", "kiln")
            .header("X-Docker-Expose-Session-Sharedkey", &offer.shared_key);
        for method in METHODS {
            request = request.header("X-Docker-Expose-Session-Grpc-Method", method);
        }
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = request.body(body).map_err(|e| {
            Error::new(ErrorKind::Unexpected, super::OP, "a session cannot be asked for")
                .source(e.to_string())
        })?;
        let answer = wire::send(client, request).await?;
        if answer.response.status() != hyper::StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::new(
                ErrorKind::Unsupported,
                super::OP,
                "the Docker engine, or something on the way to it, does not open build sessions",
            )
            .hint("Build with DOCKER_BUILDKIT=0."));
        }
        let line = answer.upgraded(client).await?;
        let service = TowerToHyperService::new(routes(offer, trouble));
        let served = Task::spawn(async move {
            let mut server = http2::Builder::new(TokioExecutor::new());
            server
                .timer(TokioTimer::new())
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
            // The engine ends the session when the build is over; the build itself tells of errors.
            let _ = server.serve_connection(line, service).await;
        });
        Ok(Self { id, _served: served })
    }
}

fn routes(offer: Offer, trouble: Trouble) -> Routes {
    Routes::new(HealthServer::new(Healthy))
        .add_service(FileSyncServer::new(Sync::new(offer.directories, trouble)))
        .add_service(SecretsServer::new(Vault(offer.secrets)))
        .add_service(AuthServer::new(Logins(offer.logins)))
        .prepare()
}
