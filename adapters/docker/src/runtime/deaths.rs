//! Services that die while their box is used.
//!
//! One request for each service waits at the engine until it ends. What is heard goes to the log of
//! the command that runs then, or of the next one.

use super::ready::last_lines;
use crate::{client::DockerClient, labels::Place};
use bollard::{errors::Error as Vendor, query_parameters::WaitContainerOptions};
use futures::StreamExt;
use kiln::{BoxName, BoxSpec, BuildId, Result, StepLog, port::Exit};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet, time::sleep};

/// How long to wait before an engine is asked again that did not answer.
const AGAIN: Duration = Duration::from_secs(5);

/// The boxes of this process that have services, by the container of the box.
#[derive(Clone, Debug, Default)]
pub(super) struct Deaths(Arc<Mutex<HashMap<String, Watched>>>);

/// A box whose services are watched, until this is dropped.
#[derive(Debug)]
struct Watched {
    build: BuildId,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

/// What is known of the services of a box.
#[derive(Debug, Default)]
struct Seen {
    /// Their containers.
    services: BTreeMap<BoxName, String>,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Those that are known to have died.
    dead: BTreeSet<BoxName>,
    /// What is to be told of them.
    untold: Vec<String>,
}

impl Seen {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a service died, with its last lines; once.
    async fn look(&self, client: &DockerClient, name: &BoxName, id: &str) -> Result<(), Vendor> {
        let found = client.docker().inspect_container(id, None).await?;
        let state = found.state.unwrap_or_default();
        if state.running == Some(true) || self.state().dead.contains(name) {
            return Ok(());
        }
        let code = state.exit_code.unwrap_or(-1);
        let why = match state.oom_killed {
            Some(true) => ", since it ran out of memory",
            _ => "",
        };
        let lines = last_lines(client, id).await;
        let mut state = self.state();
        if state.dead.insert(name.clone()) {
            let told = format!("warning: the service {name} ended with exit code {code}{why}");
            state.untold.push(told);
            state.untold.extend(lines.lines().map(|line| format!("{name} | {line}")));
            self.news.notify_one();
        }
        Ok(())
    }

    /// Waits until a service has died.
    async fn watch(self: Arc<Self>, client: DockerClient, name: BoxName, id: String) {
        loop {
            let options = WaitContainerOptions { condition: "not-running".to_owned() };
            // What it answers is the code, or an error; the engine is asked for both below.
            let _ = pin!(client.docker().wait_container(&id, Some(options))).next().await;
            match self.look(&client, &name, &id).await {
                // It is being swept.
                Err(Vendor::DockerResponseServerError { status_code: 404, .. }) => return,
                _ if self.state().dead.contains(&name) => return,
                _ => sleep(AGAIN).await,
            }
        }
    }

    /// Logs what is not told yet.
    fn tell(&self, log: &StepLog) {
        for line in std::mem::take(&mut self.state().untold) {
            log.line(line);
        }
    }
}

impl Deaths {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches the services of a box from here on, unless that is done already.
    pub(super) fn watch(
        &self,
        client: &DockerClient,
        place: &Place,
        spec: &BoxSpec,
        container: &str,
    ) {
        if spec.services.is_empty() || self.lock().contains_key(container) {
            return;
        }
        let id = |name: &BoxName| (name.clone(), place.name(Some(name)));
        let services = spec.services.keys().map(id).collect();
        let seen = Arc::new(Seen { services, ..Seen::default() });
        let mut tasks = JoinSet::new();
        for (name, id) in &seen.services {
            tasks.spawn(seen.clone().watch(client.clone(), name.clone(), id.clone()));
        }
        let watched = Watched { build: place.build.clone(), seen, _tasks: tasks };
        self.lock().insert(container.to_owned(), watched);
    }

    /// Does work in a box, and logs which of its services die meanwhile.
    pub(super) async fn beside(
        &self,
        client: &DockerClient,
        log: &StepLog,
        container: &str,
        work: impl Future<Output = Result<Exit>>,
    ) -> Result<Exit> {
        let Some(seen) = self.lock().get(container).map(|w| w.seen.clone()) else {
            return work.await;
        };
        let mut work = pin!(work);
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                () = seen.news.notified() => seen.tell(log),
            }
        };
        // What failed may have failed for want of a service whose end is not heard of yet.
        if done.as_ref().map_or(true, |exit| exit.code != 0) {
            for (name, id) in &seen.services {
                // An engine that does not answer has failed the command too, which is told.
                let _ = seen.look(client, name, id).await;
            }
        }
        seen.tell(log);
        done
    }

    /// Lets go of the boxes of a build, before they are removed.
    pub(super) fn forget(&self, build: &BuildId) {
        self.lock().retain(|_, watched| watched.build != *build);
    }
}
