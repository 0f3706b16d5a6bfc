//! The runtime: boxes are containers, and commands run in them by exec.

mod attach;
mod boxes;
mod deaths;
mod exec;
mod handle;
mod links;
mod mounts;
mod output;
mod pull;
mod ready;
mod script;
mod services;
mod session;
mod sweep;

use crate::{
    client::DockerClient,
    credentials::CredentialStore,
    labels::{HomeId, Place, filter, is_named},
};
use async_trait::async_trait;
use bollard::{exec::CreateExecOptions, query_parameters::ListContainersOptions};
use futures::lock::Mutex as AsyncMutex;
use handle::Handle;
use kiln::{
    BoxName, BoxSpec, BuildId, Command, ErrorKind, Result, StepCx, StepKey,
    port::{BoxHandle, Exit, Runtime},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};
pub use sweep::Leftover;

/// Runs commands in containers of an engine.
///
/// Everything it makes carries the labels `dev.kiln.home`, `dev.kiln.build` and `dev.kiln.box`, and
/// it finds by them what an earlier process made. A command outlives the process that started it:
/// its output and its exit code are files of the box, which any later call reads.
///
/// A box is a container of the image that does nothing; it needs `/bin/sh`, `cat`, `mkdir` and
/// `sleep`. Commands get the variables of the box and a variable `KILN_STEP`. Variables whose names
/// begin with `kiln_` are reserved. Output that a command's own children print after it ended is
/// not logged.
#[derive(Clone, Debug)]
pub struct DockerRuntime {
    client: DockerClient,
    logins: CredentialStore,
    home: HomeId,
    turns: Arc<Mutex<HashMap<String, Weak<AsyncMutex<()>>>>>,
    hands: session::Hands,
    deaths: deaths::Deaths,
}

impl DockerRuntime {
    /// A runtime of an engine for the builds of a home, with the host's own registry logins.
    pub fn new(client: DockerClient, home: HomeId) -> Self {
        let logins = CredentialStore::new(client.config().config_dir.clone());
        let (turns, hands, deaths) = Default::default();
        Self { client, logins, home, turns, hands, deaths }
    }

    fn place(&self, build: &BuildId, in_box: &BoxName) -> Place {
        Place { home: self.home.clone(), build: build.clone(), in_box: in_box.clone() }
    }

    /// The lock under which this process starts a box.
    fn turn(&self, name: &str) -> Arc<AsyncMutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(name.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

#[async_trait]
impl Runtime for DockerRuntime {
    async fn start(&self, cx: &StepCx, name: &BoxName, spec: &BoxSpec) -> Result<BoxHandle> {
        let place = self.place(&cx.key.build, name);
        let handle = boxes::start(self, cx, &place, spec).await?;
        if !spec.services.is_empty() {
            let container = Handle::read(&handle)?.container;
            self.deaths.watch(&self.client, &place, spec, &container);
        }
        Ok(handle)
    }

    async fn exec(&self, cx: &StepCx, in_box: &BoxHandle, command: &Command) -> Result<Exit> {
        let handle = Handle::read(in_box)?;
        let work = exec::exec(self, cx, &handle, command);
        self.deaths.beside(&self.client, &cx.log, &handle.container, work).await
    }

    async fn has(&self, key: &StepKey) -> Result<bool> {
        const OP: &str = "Runtime::has";
        let mut filters = filter(&self.home, Some(&key.build));
        filters.insert("status".into(), vec!["running".into(), "paused".into()]);
        let options = ListContainersOptions { filters: Some(filters), ..Default::default() };
        let found = self.client.docker().list_containers(Some(options)).await;
        for container in found.map_err(|e| self.client.error(OP, e))? {
            let labels = container.labels.as_ref();
            let is_box = |l: &HashMap<String, String>| {
                l.get(crate::labels::SERVICE).is_some_and(String::is_empty)
            };
            let named = container.names.iter().flatten().any(|n| is_named(n, labels));
            let Some(id) = container.id.as_deref().filter(|_| named && labels.is_some_and(is_box))
            else {
                continue;
            };
            let options = CreateExecOptions {
                cmd: Some(script::line(&script::HAS, [script::directory(key).as_str()])),
                // Whatever user the command runs as.
                user: Some("0".to_owned()),
                attach_stdout: Some(true),
                ..Default::default()
            };
            match self.ask(id, options, OP).await {
                Ok(answer) if answer.starts_with(b"yes") => return Ok(true),
                // It ended, or is being removed.
                Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                    return Err(e);
                }
                _ => {}
            }
        }
        Ok(false)
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        self.hands.forget(build);
        self.deaths.forget(build);
        sweep::sweep(self, build).await
    }
}
