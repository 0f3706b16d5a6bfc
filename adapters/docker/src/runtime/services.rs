//! The services beside a box, and the network they share with it.

use super::{DockerRuntime, boxes::is_running, boxes::limits, handle::variables, pull, ready};
use crate::labels::{Place, filter};
use bollard::{
    models::{
        ContainerCreateBody, EndpointSettings, HostConfig, NetworkCreateRequest, NetworkingConfig,
    },
    query_parameters::ListNetworksOptions,
};
use futures::future::{BoxFuture, FutureExt, try_join_all};
use kiln::{BoxName, Result, ServiceSpec, StepCx, secret::Value};
use std::collections::{BTreeMap, HashMap};

const OP: &str = "Runtime::start";

/// Starts services and waits until they are ready. Returns the network that the box has to join,
/// if there are services.
pub(super) async fn start(
    runtime: &DockerRuntime,
    cx: &StepCx,
    place: &Place,
    services: &BTreeMap<BoxName, ServiceSpec>,
) -> Result<Option<String>> {
    if services.is_empty() {
        return Ok(None);
    }
    let network = network(runtime, place).await?;
    let mut all: Vec<BoxFuture<'_, Result<()>>> = Vec::with_capacity(services.len());
    for (name, spec) in services {
        all.push(one(runtime, cx, place, &network, name, spec).boxed());
    }
    try_join_all(all).await?;
    Ok(Some(network))
}

/// The network of a box: a bridge of its own, where services are known by their names.
async fn network(runtime: &DockerRuntime, place: &Place) -> Result<String> {
    let (docker, name) = (runtime.client.docker(), place.name(None));
    let error = |e| runtime.client.error(OP, e).with("network", &name);
    // The engine allows several networks of one name, so there is a look before.
    let mut filters = filter(&place.home, Some(&place.build));
    filters.insert("name".to_owned(), vec![name.clone()]);
    let options = ListNetworksOptions { filters: Some(filters) };
    let found = docker.list_networks(Some(options)).await.map_err(error)?;
    let mut ours: Vec<_> = found
        .into_iter()
        .filter(|n| n.name.as_ref() == Some(&name) && place.owns(n.labels.as_ref(), None))
        .filter_map(|n| n.id)
        .collect();
    ours.sort();
    if let Some(id) = ours.into_iter().next() {
        return Ok(id);
    }
    let request = NetworkCreateRequest {
        name: name.clone(),
        driver: Some("bridge".to_owned()),
        labels: Some(place.labels(None)),
        ..NetworkCreateRequest::default()
    };
    Ok(docker.create_network(request).await.map_err(error)?.id)
}

async fn one(
    runtime: &DockerRuntime,
    cx: &StepCx,
    place: &Place,
    network: &str,
    name: &BoxName,
    spec: &ServiceSpec,
) -> Result<()> {
    let mut found = runtime.find(place, Some(name)).await?;
    if found.is_none() {
        pull::image(runtime, cx, &spec.image, spec.credentials.as_ref()).await?;
        for (variable, _) in spec.env.iter().filter(|(_, v)| matches!(v, Value::Secret(_))) {
            cx.log.line(format!(
                "warning: {variable} of the service {name} can be read by `docker inspect` while it runs"
            ));
        }
        let env = variables(cx, &spec.env, OP).await?;
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(OP));
        }
        let endpoint = EndpointSettings {
            aliases: Some(vec![name.to_string()]),
            ..EndpointSettings::default()
        };
        let body = ContainerCreateBody {
            image: Some(pull::name_of(&spec.image)),
            env: Some(env),
            entrypoint: Some(spec.entrypoint.clone()).filter(|e| !e.is_empty()),
            cmd: Some(spec.argv.clone()).filter(|a| !a.is_empty()),
            labels: Some(place.labels(Some(name))),
            host_config: Some(HostConfig {
                network_mode: Some(network.to_owned()),
                ..limits(&spec.resources)
            }),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(network.to_owned(), endpoint)])),
            }),
            ..ContainerCreateBody::default()
        };
        found = Some(runtime.create(place, Some(name), body).await?);
    }
    let id = found.as_ref().and_then(|f| f.id.clone()).unwrap_or_default();
    if !found.as_ref().is_some_and(is_running) {
        let started = runtime.client.docker().start_container(&id, None).await;
        started.map_err(|e| runtime.client.error(OP, e).with("service", name))?;
    }
    ready::wait(runtime, cx, name, &id).await
}
