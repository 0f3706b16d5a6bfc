//! Removes what builds left.

use super::DockerRuntime;
use crate::labels::{BUILD, filter, is_named};
use bollard::{
    errors::Error as Vendor,
    query_parameters::{
        ListContainersOptions, ListNetworksOptions, ListVolumesOptions, RemoveContainerOptions,
        RemoveVolumeOptions,
    },
};
use futures::{future::join_all, try_join};
use kiln::{BuildId, Error, ErrorKind, Result, Timestamp};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tokio::time::sleep;

const OP: &str = "Runtime::sweep";
/// How long to wait for a removal that somebody else began.
const GONE_MAX: Duration = Duration::from_secs(30);
const GONE_EVERY: Duration = Duration::from_millis(50);

/// What a build left on an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The build.
    pub build: BuildId,
    /// When the oldest part of it was made, by the engine's clock.
    pub created_at: Timestamp,
    /// How many containers there are, running or not.
    pub containers: usize,
    /// How many networks there are.
    pub networks: usize,
    /// How many volumes there are.
    pub volumes: usize,
}

/// The names or ids of things that carry our labels, with the build of each and its age.
#[derive(Debug, Default)]
struct Things {
    containers: Vec<Thing>,
    networks: Vec<Thing>,
    volumes: Vec<Thing>,
}

#[derive(Debug)]
struct Thing {
    id: String,
    build: Option<BuildId>,
    created_at: Timestamp,
}

impl DockerRuntime {
    /// What builds of this home left on the engine, oldest first: also those that run now, so ask
    /// the engine of Kiln which do before [`sweep`](kiln::port::Runtime::sweep) is called.
    ///
    /// With `before`, only builds all of whose leftovers were made before that time.
    pub async fn leftovers(&self, before: Option<Timestamp>) -> Result<Vec<Leftover>> {
        let things = list(self, None).await?;
        let mut builds: BTreeMap<BuildId, (Leftover, Timestamp)> = BTreeMap::new();
        let mut count = |all: &[Thing], of: fn(&mut Leftover) -> &mut usize| {
            for thing in all {
                let Some(build) = &thing.build else { continue };
                let none = || Leftover {
                    build: build.clone(),
                    created_at: thing.created_at,
                    containers: 0,
                    networks: 0,
                    volumes: 0,
                };
                let entry = builds.entry(build.clone());
                let (left, newest) = entry.or_insert_with(|| (none(), thing.created_at));
                *of(left) += 1;
                left.created_at = left.created_at.min(thing.created_at);
                *newest = thing.created_at.max(*newest);
            }
        };
        count(&things.containers, |l| &mut l.containers);
        count(&things.networks, |l| &mut l.networks);
        count(&things.volumes, |l| &mut l.volumes);
        let old = |newest: Timestamp| before.is_none_or(|before| newest < before);
        let mut all: Vec<_> =
            builds.into_values().filter(|(_, newest)| old(*newest)).map(|(l, _)| l).collect();
        all.sort_by(|a, b| (a.created_at, &a.build).cmp(&(b.created_at, &b.build)));
        Ok(all)
    }
}

pub(super) async fn sweep(runtime: &DockerRuntime, build: &BuildId) -> Result<()> {
    let things = list(runtime, Some(build)).await?;
    let docker = runtime.client.docker();
    all_of(things.containers.iter().map(|c| remove_container(runtime, &c.id))).await?;
    // Volumes without a name go with their container; others were made by one that never came to be.
    let options = RemoveVolumeOptions { force: true };
    all_of(things.networks.iter().map(async |n| done(runtime, docker.remove_network(&n.id).await)))
        .await?;
    all_of(
        things
            .volumes
            .iter()
            .map(async |v| done(runtime, docker.remove_volume(&v.id, Some(options.clone())).await)),
    )
    .await
}

/// Removes all that can be removed, and returns the first error.
async fn all_of(removals: impl Iterator<Item = impl Future<Output = Result<()>>>) -> Result<()> {
    join_all(removals).await.into_iter().collect()
}

fn done(runtime: &DockerRuntime, answer: std::result::Result<(), Vendor>) -> Result<()> {
    match answer {
        Ok(()) | Err(Vendor::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(e) => Err(runtime.client.error(OP, e)),
    }
}

async fn remove_container(runtime: &DockerRuntime, id: &str) -> Result<()> {
    let docker = runtime.client.docker();
    let options = RemoveContainerOptions { v: true, force: true, link: false };
    match docker.remove_container(id, Some(options)).await {
        // Somebody else removes it.
        Err(Vendor::DockerResponseServerError { status_code: 409, .. }) => {}
        answer => return done(runtime, answer),
    }
    let mut waited = Duration::ZERO;
    while waited < GONE_MAX {
        match docker.inspect_container(id, None).await {
            Err(Vendor::DockerResponseServerError { status_code: 404, .. }) => return Ok(()),
            Err(e) => return Err(runtime.client.error(OP, e)),
            Ok(_) => sleep(GONE_EVERY).await,
        }
        waited += GONE_EVERY;
    }
    Err(Error::new(ErrorKind::Unavailable, OP, "a container does not go away")
        .with("container", id)
        .hint("Restart the Docker engine if `docker rm -f` hangs, too."))
}

/// Lists what carries the labels of this home, and of one build if one is asked for.
async fn list(runtime: &DockerRuntime, build: Option<&BuildId>) -> Result<Things> {
    let docker = runtime.client.docker();
    let error = |e| runtime.client.error(OP, e);
    let filters = Some(filter(&runtime.home, build));
    let mut things = Things::default();
    let options =
        ListContainersOptions { all: true, filters: filters.clone(), ..Default::default() };
    let networks = ListNetworksOptions { filters: filters.clone() };
    let volumes = ListVolumesOptions { filters };
    // One after the other would be felt at the end of each build.
    let (containers, networks, volumes) = try_join!(
        docker.list_containers(Some(options)),
        docker.list_networks(Some(networks)),
        docker.list_volumes(Some(volumes)),
    )
    .map_err(error)?;
    for c in containers {
        let labels = c.labels.as_ref();
        let named = c.names.iter().flatten().any(|n| is_named(n, labels));
        if let (Some(id), true) = (c.id, named) {
            things.containers.push(thing(id, labels, c.created));
        }
    }
    for n in networks {
        if let Some(id) = n.id {
            let created = n.created.map(|t| t.unix_timestamp());
            things.networks.push(thing(id, n.labels.as_ref(), created));
        }
    }
    for v in volumes.volumes.into_iter().flatten() {
        let created = v.created_at.map(|t| t.unix_timestamp());
        things.volumes.push(thing(v.name, Some(&v.labels), created));
    }
    Ok(things)
}

fn thing(id: String, labels: Option<&HashMap<String, String>>, seconds: Option<i64>) -> Thing {
    let build = labels.and_then(|l| l.get(BUILD)).and_then(|b| BuildId::new(b).ok());
    let seconds = seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(0);
    Thing { id, build, created_at: Timestamp(seconds.saturating_mul(1000)) }
}
