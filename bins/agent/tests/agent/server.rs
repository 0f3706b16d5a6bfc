//! This program once more, as a server over SQLite and files: what can be killed.

use async_trait::async_trait;
use kiln::{Engine, Error, ErrorKind, Result, Toolbox};
use kiln_api_agent::{Access, AgentApi, Caller, Scope, router};
use kiln_files::{FileArtifacts, FileLogs};
use kiln_sqlite::SqliteDb;
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

/// Where the server keeps its data and listens; says that this is the process that is one.
const SERVER: &str = "KILN_TEST_SERVER";
/// The token of an agent, and one for something else.
pub(crate) const AGENT_TOKEN: &str = "kiln_agent";
pub(crate) const OTHER_TOKEN: &str = "kiln_submit";

#[derive(Debug)]
struct Tokens;

#[async_trait]
impl Access for Tokens {
    async fn caller(&self, token: Option<&str>) -> Result<Caller> {
        let scope = match token {
            Some(AGENT_TOKEN) => Scope::Agent,
            Some(OTHER_TOKEN) => Scope::Other,
            _ => return Err(Error::new(ErrorKind::Denied, "Access", "nobody has this token")),
        };
        Ok(Caller { name: "agents".into(), scope })
    }
}

/// What is kept in a data directory, to be served or to be looked at.
pub(crate) fn open(data: &Path) -> (Engine, SqliteDb) {
    let db = SqliteDb::open(&data.join("kiln.db")).unwrap();
    let logs = Arc::new(FileLogs::open(data.join("logs")).unwrap());
    let tools = Toolbox {
        store: Arc::new(db.store()),
        index: Arc::new(db.index()),
        log_sink: logs.clone(),
        log_reader: logs,
        artifacts: Arc::new(FileArtifacts::open(data.join("artifacts")).unwrap()),
        ..Toolbox::default()
    };
    (Engine::builder().toolbox(tools).build(), db)
}

/// Serves for as long as this process lives.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is the server of other tests, which start it"]
async fn serve() {
    let Ok(told) = std::env::var(SERVER) else { return };
    let (address, data) = told.split_once(' ').unwrap();
    let (engine, db) = open(Path::new(data));
    let api = AgentApi {
        engine,
        queue: Arc::new(db.queue()),
        fleet: Arc::new(db.fleet()),
        access: Arc::new(Tokens),
        hold_back: Duration::from_secs(3),
    };
    let listener = loop {
        // The address may be taken for a moment still by the process before.
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    axum::serve(listener, router(api)).await.unwrap();
}

/// Starts a server as another process.
pub(crate) fn start(address: &str, data: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server::serve", "--ignored", "--nocapture"])
        .env(SERVER, format!("{address} {}", data.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
