//! Starting boxes. A box that runs is whole: its services were ready before it was started.

use super::{
    DockerRuntime,
    handle::{Handle, check_name},
    links, mounts, pull, script, services,
};
use crate::labels::{Place, USER};
use bollard::{
    errors::Error as Vendor,
    models::{
        ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, HostConfig,
        PortBinding, PortMap,
    },
    query_parameters::{ContainerArchiveInfoOptions, CreateContainerOptions},
};
use kiln::{
    BoxName, BoxSpec, Error, ErrorKind, Protocol, Resources, Result, StepCx, port::BoxHandle,
};

const OP: &str = "Runtime::start";

pub(super) async fn start(
    runtime: &DockerRuntime,
    cx: &StepCx,
    place: &Place,
    spec: &BoxSpec,
) -> Result<BoxHandle> {
    let stopped = |_| cx.cancelled(OP);
    let name = place.name(None);
    let turn = runtime.turn(&name);
    let _turn = cx.cancel.race(turn.lock()).await.map_err(stopped)?;
    if let Some(known) = runtime.hands.known(&cx.key.build, &name, spec) {
        return Ok(known);
    }
    let handle = find_or_start(runtime, cx, place, spec).await?;
    runtime.hands.know(&cx.key.build, name, spec, &handle);
    Ok(handle)
}

async fn find_or_start(
    runtime: &DockerRuntime,
    cx: &StepCx,
    place: &Place,
    spec: &BoxSpec,
) -> Result<BoxHandle> {
    let name = place.name(None);
    let mut found = runtime.find(place, None).await?;
    if let Some(found) = found.as_ref().filter(|f| is_running(f)) {
        return Handle::of(found, spec, links::of(runtime, place, spec).await?);
    }
    for name in spec.env.keys() {
        check_name(name, OP)?;
    }
    let image = pull::image(runtime, cx, &spec.image, spec.credentials.as_ref()).await?;
    let network = services::start(runtime, cx, place, &spec.services).await?;
    // From here on nothing is waited for, and nothing dropped half done: a sweep could miss it.
    if cx.cancel.is_cancelled() {
        return Err(cx.cancelled(OP));
    }
    if found.is_none() {
        let user = image.config.and_then(|c| c.user).unwrap_or_default();
        let body = body(cx, place, spec, user, network).await?;
        found = Some(runtime.create(place, None, body).await?);
    }
    let Some(found) = found else { return Err(gone(place)) };
    let id = found.id.as_deref().unwrap_or(&name);
    if let Err(e) = runtime.client.docker().start_container(id, None).await {
        let e = runtime.client.error(OP, e).with("image", &spec.image);
        return Err(if runtime.lacks_shell(id).await { no_shell(spec) } else { e });
    }
    Handle::of(&found, spec, links::of(runtime, place, spec).await?)
}

/// The ports that a box opens to its host, as the engine takes them.
fn ports(spec: &BoxSpec) -> (Vec<String>, PortMap) {
    let mut all = PortMap::new();
    for port in &spec.ports {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let binding = PortBinding {
            host_ip: Some(port.address().to_string()),
            // The engine picks one where there is none.
            host_port: Some(port.host_port.map(|p| p.to_string()).unwrap_or_default()),
        };
        let bindings = all.entry(format!("{}/{protocol}", port.port)).or_default();
        bindings.get_or_insert_default().push(binding);
    }
    (all.keys().cloned().collect(), all)
}

async fn body(
    cx: &StepCx,
    place: &Place,
    spec: &BoxSpec,
    user: String,
    network: Option<String>,
) -> Result<ContainerCreateBody> {
    let mut labels = place.labels(None);
    // The first process opens the volume to all users. Commands run as the image says.
    let first_user = if user.is_empty() { "" } else { "0" };
    let (exposed, bindings) = ports(spec);
    labels.insert(USER.to_owned(), user);
    Ok(ContainerCreateBody {
        image: Some(pull::name_of(&spec.image)),
        entrypoint: Some(script::line(&script::BOX, [script::DIR])),
        user: Some(first_user.to_owned()),
        working_dir: spec.cwd.clone(),
        labels: Some(labels),
        exposed_ports: Some(exposed).filter(|e| !e.is_empty()),
        host_config: Some(HostConfig {
            mounts: Some(mounts::of(cx, place, spec).await?),
            network_mode: network,
            port_bindings: Some(bindings).filter(|b| !b.is_empty()),
            ..limits(&spec.resources)
        }),
        ..ContainerCreateBody::default()
    })
}

/// Limits as the engine takes them. Swap would make a limit of memory one of speed.
pub(super) fn limits(resources: &Resources) -> HostConfig {
    let memory = i64::try_from(resources.memory_bytes).ok().filter(|m| *m > 0);
    let cpus = Some(i64::from(resources.cpu_millis) * 1_000_000).filter(|c| *c > 0);
    HostConfig { memory, memory_swap: memory, nano_cpus: cpus, ..HostConfig::default() }
}

pub(super) fn is_running(container: &ContainerInspectResponse) -> bool {
    let status = container.state.as_ref().and_then(|s| s.status);
    matches!(status, Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::PAUSED))
}

fn gone(place: &Place) -> Error {
    Error::new(ErrorKind::Unavailable, OP, "the box was removed while it was started")
        .with("box", &place.in_box)
}

fn no_shell(spec: &BoxSpec) -> Error {
    Error::new(ErrorKind::Unsupported, OP, "the image of the box has no /bin/sh")
        .with("image", &spec.image)
        .hint("Run commands in an image with a shell, such as one based on busybox or Debian.")
}

impl DockerRuntime {
    /// The container of a box, or of a service beside it.
    pub(super) async fn find(
        &self,
        place: &Place,
        service: Option<&BoxName>,
    ) -> Result<Option<ContainerInspectResponse>> {
        let name = place.name(service);
        let found = match self.client.docker().inspect_container(&name, None).await {
            Ok(found) => found,
            Err(Vendor::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
            Err(e) => return Err(self.client.error(OP, e)),
        };
        let labels = found.config.as_ref().and_then(|c| c.labels.as_ref());
        if place.owns(labels, service) {
            return Ok(Some(found));
        }
        Err(Error::new(
            ErrorKind::AlreadyExists,
            OP,
            "a container that is not ours has the name of the box",
        )
        .with("container", &name)
        .hint("Rename or remove that container."))
    }

    /// Makes the container of a box or service, or finds the one somebody else made just now.
    pub(super) async fn create(
        &self,
        place: &Place,
        service: Option<&BoxName>,
        body: ContainerCreateBody,
    ) -> Result<ContainerInspectResponse> {
        let name = Some(place.name(service));
        let options = CreateContainerOptions { name, ..CreateContainerOptions::default() };
        match self.client.docker().create_container(Some(options), body).await {
            Ok(_) | Err(Vendor::DockerResponseServerError { status_code: 409, .. }) => {}
            Err(e) => return Err(self.client.error(OP, e).with("box", &place.in_box)),
        }
        self.find(place, service).await?.ok_or_else(|| gone(place))
    }

    async fn lacks_shell(&self, container: &str) -> bool {
        let options = ContainerArchiveInfoOptions { path: "/bin/sh".to_owned() };
        let answer =
            self.client.docker().get_container_archive_info(container, Some(options)).await;
        matches!(answer, Err(Vendor::DockerResponseServerError { status_code: 404, .. }))
    }
}
