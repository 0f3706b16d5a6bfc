//! Finds the steps that a `wercker.yml` names in a registry over HTTP, and publishes steps there.
//!
//! `docs/wercker-steps.md` describes what a registry is asked and answers. Nothing here tries
//! again: [`retried`](kiln_wercker::step::retried) does. Needs a Tokio runtime with time and I/O.

mod client;
mod config;
mod error;
mod gate;
mod publish;
mod wire;

pub use config::{Api, RegistryConfig};
pub use publish::{PUBLISH_MAX, Publish};

use crate::{
    client::Outward,
    error::{FIND, corrupt},
    wire::Answer,
};
use async_trait::async_trait;
use kiln::{Error, ErrorKind, Result, Secret};
use kiln_wercker::step::{Found, StepRegistry, is_exact_version};
use reqwest::Url;

/// A registry of steps over HTTP.
#[derive(Clone, Debug)]
pub struct HttpRegistry {
    outward: Outward,
    base: Url,
    api: Api,
    token: Option<Secret>,
}

impl HttpRegistry {
    /// A registry as an operator or a user describes it. Nothing is connected to yet.
    pub fn new(config: &RegistryConfig) -> Result<Self> {
        let base = client::base(&config.url, config.allow_http)?;
        let outward = Outward::new(config)?;
        Ok(Self { outward, base, api: config.api, token: None })
    }

    /// With the token that is sent to the registry, and to no other host.
    #[must_use]
    pub fn token(self, token: Secret) -> Self {
        Self { token: Some(token), ..self }
    }

    /// An address of the registry, from parts that are escaped here.
    pub(crate) fn at(&self, parts: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }

    async fn ask(&self, prefix: &[&str], step: [&str; 3]) -> Result<Option<Found>> {
        let url = self.at(&[prefix, &step].concat());
        let Some(body) = self.outward.get(url, self.token.as_ref()).await? else {
            return Ok(None);
        };
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| {
            corrupt(&self.base, "the registry of steps did not answer with JSON of a step")
        })?;
        self.found(answer).map(Some)
    }

    /// Judges an answer: whoever fetches the archive goes where it says.
    fn found(&self, answer: Answer) -> Result<Found> {
        let wrong = |message: &str| Err(corrupt(&self.base, message));
        let (version, tarball, sha256) = answer.parts();
        let Some(version) = version.filter(|v| is_exact_version(v)) else {
            return wrong("the registry of steps answered without an exact version");
        };
        let Some(tarball) = tarball.and_then(|t| self.base.join(&t).ok()) else {
            return wrong("the registry of steps answered without the URL of an archive");
        };
        let login = !tarball.username().is_empty() || tarball.password().is_some();
        let plain = tarball.scheme() == "http" && self.base.scheme() == "http";
        if !(tarball.scheme() == "https" || plain) || login || !tarball.has_host() {
            return wrong("the registry of steps names an archive that nobody fetches from there");
        }
        Ok(Found { version, tarball_url: tarball.into(), sha256 })
    }
}

#[async_trait]
impl StepRegistry for HttpRegistry {
    async fn find(&self, owner: &str, name: &str, version: &str) -> Result<Found> {
        let step = [owner, name, version];
        let dots = |part: &&str| part.is_empty() || part.chars().all(|c| c == '.');
        if step.iter().any(dots) {
            let message = "that names no step";
            return Err(Error::new(ErrorKind::Invalid, FIND, message));
        }
        let forms: &[&[&str]] = match self.api {
            Api::Steps => &[wire::STEPS],
            Api::V2 => &[wire::V2],
            Api::Any => &[wire::STEPS, wire::V2],
        };
        for form in forms {
            if let Some(found) = self.ask(form, step).await.map_err(|e| about(e, step))? {
                return Ok(found);
            }
        }
        let error = Error::new(ErrorKind::NotFound, FIND, "the registry has no such step")
            .with("host", self.base.host_str().unwrap_or_default())
            .hint("Look at its name, its owner and its version in `wercker.yml`.");
        Err(about(error, step))
    }
}

fn about(error: Error, [owner, name, version]: [&str; 3]) -> Error {
    error.with("step", format!("{owner}/{name}@{version}"))
}
