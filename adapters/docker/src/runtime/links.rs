//! The variables by which Docker's links told a container of those beside it.
//!
//! The form is that of Docker's `--link`: <https://docs.docker.com/engine/network/links/>.

use super::DockerRuntime;
use crate::labels::Place;
use bollard::models::ContainerInspectResponse;
use kiln::{BoxSpec, Error, ErrorKind, Result, ServiceSpec, Value};
use std::collections::BTreeMap;

const OP: &str = "Runtime::start";

/// The variables of all services of a box, if it asks for them.
pub(super) async fn of(
    runtime: &DockerRuntime,
    place: &Place,
    spec: &BoxSpec,
) -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    if !spec.link_env {
        return Ok(all);
    }
    for (name, service) in &spec.services {
        let found = runtime.find(place, Some(name)).await?.ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, OP, "a service of the box is gone")
                .with("service", name)
        })?;
        all.extend(link(place.in_box.as_str(), name.as_str(), service, &found));
    }
    Ok(all)
}

/// What a link to one service gives.
fn link(
    in_box: &str,
    name: &str,
    service: &ServiceSpec,
    found: &ContainerInspectResponse,
) -> BTreeMap<String, Value> {
    let alias: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect();
    // No shell takes a variable whose name begins with a digit.
    let alias =
        if alias.starts_with(|c: char| c.is_ascii_digit()) { format!("_{alias}") } else { alias };
    let mut all = BTreeMap::new();
    let mut put =
        |name: String, text: String| all.insert(format!("{alias}_{name}"), Value::Text(text));
    put("NAME".to_owned(), format!("/{in_box}/{name}"));
    let address = address(found);
    for (i, (port, protocol)) in ports(found).iter().enumerate() {
        let url = format!("{protocol}://{address}:{port}");
        if i == 0 {
            put("PORT".to_owned(), url.clone());
        }
        let long = format!("PORT_{port}_{}", protocol.to_ascii_uppercase());
        put(format!("{long}_ADDR"), address.clone());
        put(format!("{long}_PORT"), port.to_string());
        put(format!("{long}_PROTO"), protocol.clone());
        put(long, url);
    }
    let env = found.config.as_ref().and_then(|c| c.env.as_ref());
    for (variable, text) in env.into_iter().flatten().filter_map(|pair| pair.split_once('=')) {
        // Links leave out what every image has; a value of the plan may be a secret, and stays one.
        if !["HOME", "PATH"].contains(&variable)
            && !service.env.contains_key(variable)
            && legal(variable)
        {
            put(format!("ENV_{variable}"), text.to_owned());
        }
    }
    for (variable, value) in service.env.iter().filter(|(variable, _)| legal(variable)) {
        all.insert(format!("{alias}_ENV_{variable}"), value.clone());
    }
    all
}

fn legal(variable: &str) -> bool {
    variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn address(found: &ContainerInspectResponse) -> String {
    let networks = found.network_settings.as_ref().and_then(|n| n.networks.as_ref());
    let mut addresses = networks.into_iter().flat_map(|n| n.values());
    addresses.find_map(|n| n.ip_address.clone().filter(|a| !a.is_empty())).unwrap_or_default()
}

/// What a container exposes: the lowest port first, and of one number TCP first.
fn ports(found: &ContainerInspectResponse) -> Vec<(u16, String)> {
    let exposed = found.config.as_ref().and_then(|c| c.exposed_ports.as_ref());
    let port = |text: &String| {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        Some((port.parse().ok()?, protocol.to_owned()))
    };
    let mut all: Vec<_> = exposed.into_iter().flatten().filter_map(port).collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::{ContainerConfig, EndpointSettings, NetworkSettings};
    use kiln::SecretRef;
    use std::collections::HashMap;

    #[test]
    fn links_tell_of_ports_and_variables() {
        let endpoint =
            EndpointSettings { ip_address: Some("172.18.0.2".into()), ..Default::default() };
        let networks = Some(HashMap::from([("n".to_owned(), endpoint)]));
        let found = ContainerInspectResponse {
            config: Some(ContainerConfig {
                env: Some(["PATH=/bin", "A=1=2", "TOKEN=open"].map(str::to_owned).to_vec()),
                exposed_ports: Some(["5432/tcp", "53/udp"].map(str::to_owned).to_vec()),
                ..Default::default()
            }),
            network_settings: Some(NetworkSettings { networks, ..Default::default() }),
            ..Default::default()
        };
        let secret = Value::Secret(SecretRef::new("db").unwrap());
        let mut service = ServiceSpec::new("db:1".parse().unwrap());
        service.env.insert("TOKEN".into(), secret.clone());
        let told = link("main", "my-db", &service, &found);
        let text = |name: &str| match told.get(name) {
            Some(Value::Text(text)) => text.as_str(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(text("MY_DB_NAME"), "/main/my-db");
        assert_eq!(text("MY_DB_PORT"), "udp://172.18.0.2:53");
        assert_eq!(text("MY_DB_PORT_5432_TCP"), "tcp://172.18.0.2:5432");
        assert_eq!(text("MY_DB_PORT_5432_TCP_ADDR"), "172.18.0.2");
        assert_eq!(text("MY_DB_PORT_5432_TCP_PORT"), "5432");
        assert_eq!(text("MY_DB_PORT_5432_TCP_PROTO"), "tcp");
        assert_eq!(text("MY_DB_ENV_A"), "1=2");
        assert_eq!(told.get("MY_DB_ENV_TOKEN"), Some(&secret));
        assert!(!told.contains_key("MY_DB_ENV_PATH"));
        assert!(link("main", "3d", &service, &found).contains_key("_3D_NAME"));
    }
}
