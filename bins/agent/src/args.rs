//! What the command line says.

use crate::{
    compose::compose,
    config::Config,
    run::{Stop, run},
};
use clap::Parser;
use kiln::{Error, ErrorKind, NodeId, Result};
use std::{
    io::{IsTerminal, Write, stderr},
    path::PathBuf,
    process::ExitCode,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Drives builds of a Kiln server on this machine.
///
/// It needs the address of the server and a token of the scope `agent`
/// (`kiln-server token create NAME --scope agent`), and a Docker engine to build with. On SIGTERM it
/// takes no more builds and gives those that run some time; a second SIGTERM ends it at once, and
/// the next start goes on with them.
#[derive(Debug, Parser)]
#[command(name = "kiln-agent", version, max_term_width = 100)]
pub struct Args {
    /// Read settings from this file; what is said here wins.
    #[arg(long, value_name = "FILE", env = "KILN_AGENT_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The server, such as `https://kiln.example`.
    #[arg(long, value_name = "URL", env = "KILN_SERVER")]
    pub(crate) server: Option<String>,
    /// The file that holds the token.
    #[arg(long, value_name = "FILE", env = "KILN_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Trust the certificates in this file (PEM) beside those of the system.
    #[arg(long, value_name = "FILE", env = "KILN_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// The name of this node; that of the machine without it.
    #[arg(long, env = "KILN_NAME")]
    pub(crate) name: Option<NodeId>,
    /// Keep what is needed to go on after a crash, and the directories of builds, below this one.
    #[arg(long, value_name = "DIR", env = "KILN_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Drive this many builds side by side.
    #[arg(long, value_name = "N", env = "KILN_SLOTS")]
    pub(crate) slots: Option<u16>,
    /// Say this of the node, for placements. May be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// How many processors builds may ask for, such as 3.5; all of them without it.
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<f64>,
    /// How much memory builds may ask for, such as 8g; all of it without it.
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory: Option<String>,
    /// How many seconds running builds have to end after a SIGTERM; then they are handed back.
    #[arg(long, value_name = "SECONDS", env = "KILN_DRAIN_SECONDS")]
    pub(crate) drain: Option<u64>,
    /// Build with the Docker engine here, as DOCKER_HOST has it.
    #[arg(long, value_name = "URL", env = "KILN_DOCKER_HOST")]
    pub(crate) docker_host: Option<String>,
}

fn label(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is written KEY=VALUE".to_owned()),
    }
}

impl Args {
    /// Runs the agent until it is told to stop: 0 then, 1 if it cannot go on, 2 if it is used wrongly.
    pub async fn run(self) -> ExitCode {
        listen_to_ourselves();
        match self.work().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => tell(&e),
        }
    }

    async fn work(self) -> Result<()> {
        let config = Config::read(self)?;
        let stop = signalled()?;
        let agent = tokio::select! {
            agent = compose(&config) => agent?,
            // Nothing runs yet.
            _ = stop.drain.cancelled() => return Ok(()),
        };
        run(agent, stop).await
    }
}

/// Sends what we say of ourselves to standard error, as `KILN_LOG` filters it. A journal has its own
/// times.
fn listen_to_ourselves() {
    let filter = EnvFilter::try_from_env("KILN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let to = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr);
    match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => to.without_time().init(),
        None => to.init(),
    }
}

fn tell(e: &Error) -> ExitCode {
    let mut text = format!("kiln-agent: {e}");
    let mut next = std::error::Error::source(e);
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    if let Some(hint) = e.hint_text() {
        text.push_str(&format!("\n  help: {hint}"));
    }
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(stderr(), "{text}");
    match e.kind() {
        ErrorKind::Invalid => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}

/// The first SIGTERM or SIGINT drains, the second ends.
fn signalled() -> Result<Stop> {
    let wait = |kind| {
        signal(kind).map_err(|e| {
            Error::new(ErrorKind::Unexpected, "kiln-agent", "signals cannot be heard").source(e)
        })
    };
    let (mut terminate, mut interrupt) =
        (wait(SignalKind::terminate())?, wait(SignalKind::interrupt())?);
    let stop = Stop::default();
    let told = stop.clone();
    tokio::spawn(async move {
        for token in [&told.drain, &told.now] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel(kiln::StopReason::Cancel);
        }
    });
    Ok(stop)
}
