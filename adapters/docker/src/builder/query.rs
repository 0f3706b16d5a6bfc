//! The request for a build, as the Engine API's `POST /build` takes it.

use super::{recipe::Dockerfile, wire::Body, with_tag};
use base64::{Engine, engine::general_purpose::URL_SAFE};
use bollard::auth::DockerCredentials;
use hyper::Request;
use kiln::{BuildSpec, Error, ErrorKind, Result};
use std::collections::{BTreeMap, HashMap};

/// Who builds, and from what.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way<'a> {
    /// The classic builder, with an archive.
    Classic(&'a HashMap<String, DockerCredentials>),
    /// BuildKit with an archive, beside the session of this id.
    Archive(&'a str),
    /// BuildKit, which asks for files in the session of this id.
    Session(&'a str),
}

/// The request for a build.
pub(super) fn request(
    spec: &BuildSpec,
    args: &BTreeMap<String, String>,
    dockerfile: &Dockerfile,
    way: Way<'_>,
    body: Body,
) -> Result<Request<Body>> {
    let json = |map: &BTreeMap<String, String>| serde_json::to_string(map).unwrap_or_default();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("rm", "1").append_pair("forcerm", "1");
    for tag in &spec.tags {
        query.append_pair("t", &with_tag(tag));
    }
    let flags = [("nocache", spec.no_cache), ("pull", spec.pull)];
    for (name, _) in flags.iter().filter(|(_, set)| *set) {
        query.append_pair(name, "1");
    }
    for (name, map) in [("buildargs", args), ("labels", &spec.labels)] {
        if !map.is_empty() {
            query.append_pair(name, &json(map));
        }
    }
    for (name, value) in [("platform", &spec.platform), ("target", &spec.target)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    match way {
        Way::Classic(_) => query.append_pair("version", "1"),
        Way::Archive(id) => query.append_pair("version", "2").append_pair("session", id),
        Way::Session(id) => query
            .append_pair("version", "2")
            .append_pair("session", id)
            .append_pair("remote", "client-session"),
    };
    // In a session the Dockerfile is alone in a directory of its own.
    let name = match way {
        Way::Session(_) => dockerfile.base_name(),
        _ => &dockerfile.name,
    };
    query.append_pair("dockerfile", name);
    let request = Request::post(format!("/build?{}", query.finish()));
    let request = request.header("Content-Type", "application/x-tar");
    let request = match way {
        Way::Classic(logins) if !logins.is_empty() => {
            let logins = serde_json::to_vec(logins).unwrap_or_default();
            request.header("X-Registry-Config", URL_SAFE.encode(logins))
        }
        _ => request,
    };
    request.body(body).map_err(|e| {
        // Only what the plan says can be too long for a request.
        Error::new(ErrorKind::Invalid, super::OP, "the build cannot be asked for")
            .source(e.to_string())
            .hint("Use fewer or shorter build arguments and labels.")
    })
}
