//! The registry port: the engine pushes, with credentials for this push alone.

use crate::{
    builder::with_tag,
    client::DockerClient,
    credentials::{CredentialStore, as_docker, secrets_of},
    error::said,
    progress::layer,
};
use async_trait::async_trait;
use bollard::{
    auth::DockerCredentials,
    errors::Error as Vendor,
    query_parameters::{PushImageOptions, RemoveImageOptions, TagImageOptions},
};
use futures::StreamExt;
use kiln::{
    Digest, Error, ErrorKind, ImageRef, Result, SecretRef, StepCx,
    port::{PushSpec, Registry},
    secret::Credentials,
};
use std::collections::BTreeMap;

/// Pushes images with an engine.
#[derive(Clone, Debug)]
pub struct DockerRegistry {
    client: DockerClient,
    logins: CredentialStore,
}

impl DockerRegistry {
    /// A registry port of an engine, with the host's own registry logins.
    pub fn new(client: DockerClient) -> Self {
        let logins = CredentialStore::new(client.config().config_dir.clone());
        Self { client, logins }
    }

    async fn login(
        &self,
        cx: &StepCx,
        to: &ImageRef,
        secret: Option<&SecretRef>,
    ) -> Result<Option<DockerCredentials>> {
        let login = match secret {
            None => self.logins.login(to.registry()).await?,
            Some(secret) => {
                let value = cx.secrets.reveal(secret).await?;
                let login = Credentials::parse(&value).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Invalid,
                        "Registry::push",
                        "the secret holds no user and password",
                    )
                    .with("secret", secret)
                    .hint("Write it as `user:password` or as JSON with `username` and `password`.")
                })?;
                Some(as_docker(&login, to.registry()))
            }
        };
        login.iter().flat_map(secrets_of).for_each(|s| cx.secrets.conceal(&s));
        Ok(login)
    }

    /// Pushes a name the engine has, and returns the digest it tells at the end.
    async fn send(
        &self,
        cx: &StepCx,
        to: &ImageRef,
        login: Option<DockerCredentials>,
    ) -> Result<Digest> {
        const OP: &str = "Registry::push";
        let options =
            PushImageOptions { tag: to.tag_or_latest().map(str::to_owned), platform: None };
        let name = to.name();
        let mut stream =
            std::pin::pin!(self.client.docker().push_image(&name, Some(options), login));
        let (mut layers, mut digest) = (BTreeMap::new(), None);
        loop {
            let next = cx.cancel.race(stream.next()).await.map_err(|_| cx.cancelled(OP))?;
            match next {
                None => break,
                Some(Ok(info)) => {
                    let Some(status) = info.status else { continue };
                    digest = digest_in(&status).or(digest);
                    let (id, text) = split(&status);
                    layer(&cx.log, &mut layers, id, text, info.progress_detail);
                }
                Some(Err(Vendor::DockerStreamError { error })) => {
                    return Err(said(OP, &error, ErrorKind::Unavailable).with("to", to));
                }
                Some(Err(e)) => return Err(self.client.error(OP, e).with("to", to)),
            }
        }
        digest.ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, OP, "the engine did not say which digest it pushed")
                .with("to", to)
        })
    }
}

#[async_trait]
impl Registry for DockerRegistry {
    async fn push(&self, cx: &StepCx, spec: &PushSpec) -> Result<Digest> {
        const OP: &str = "Registry::push";
        let docker = self.client.docker();
        let target = with_tag(&spec.to);
        let login = self.login(cx, &spec.to, spec.credentials.as_ref()).await?;
        let found =
            docker.inspect_image(&spec.image).await.map_err(|e| self.client.error(OP, e))?;
        let had_it = match docker.inspect_image(&target).await {
            Ok(image) => image.id,
            Err(Vendor::DockerResponseServerError { status_code: 404, .. }) => None,
            Err(e) => return Err(self.client.error(OP, e)),
        };
        // The engine deletes an image with its last name, so one that has no other keeps ours.
        let has_names = found.repo_tags.as_ref().is_some_and(|tags| !tags.is_empty());
        if had_it.is_some() && had_it != found.id {
            cx.log.line(format!("the name {target} moves to the image that is pushed"));
        }
        let options = TagImageOptions {
            repo: Some(spec.to.name()),
            tag: spec.to.tag_or_latest().map(str::to_owned),
        };
        docker.tag_image(&spec.image, Some(options)).await.map_err(|e| self.client.error(OP, e))?;
        let pushed = self.send(cx, &spec.to, login).await;
        if had_it.is_none() && has_names {
            // The name was ours, for this push alone.
            let removed = docker.remove_image(&target, None::<RemoveImageOptions>, None).await;
            if let (Err(e), Ok(_)) = (removed, &pushed) {
                return Err(self.client.error(OP, e));
            }
        }
        pushed
    }

    async fn digest(&self, cx: &StepCx, of: &ImageRef) -> Result<Option<Digest>> {
        const OP: &str = "Registry::digest";
        let login = self.login(cx, of, None).await?;
        let answer = self.client.docker().inspect_registry_image(&with_tag(of), login).await;
        match answer {
            Ok(found) => Ok(found.descriptor.digest.and_then(|d| Digest::parse(&d).ok())),
            Err(Vendor::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(e) => {
                let e = self.client.error(OP, e);
                if e.kind() == ErrorKind::NotFound { Ok(None) } else { Err(e.with("image", of)) }
            }
        }
    }
}

/// The layer that a status is about, where its text names one as `id: text`.
fn split(status: &str) -> (Option<&str>, &str) {
    match status.split_once(": ") {
        Some((id, text)) if id.len() == 12 && id.bytes().all(|c| c.is_ascii_hexdigit()) => {
            (Some(id), text)
        }
        _ => (None, status),
    }
}

/// The digest in a status such as `v1: digest: sha256:… size: 528`.
fn digest_in(status: &str) -> Option<Digest> {
    let (_, rest) = status.split_once("digest: ")?;
    Digest::parse(rest.split_whitespace().next()?).ok()
}
