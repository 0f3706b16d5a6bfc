//! The registry port: the engine pushes, with credentials for this push alone.

mod locks;
mod names;
mod push;

use crate::{
    client::DockerClient,
    credentials::{CredentialStore, as_docker, secrets_of},
};
use async_trait::async_trait;
use bollard::{auth::DockerCredentials, errors::Error as Vendor};
use kiln::{
    BuildId, Digest, Error, ErrorKind, ImageRef, Result, SecretRef, StepCx, StopReason,
    port::{PushSpec, Registry},
    secret::Credentials,
};
pub(crate) use locks::NameLocks;
use std::time::Duration;

/// How long names may take to be put back after a push; what is left then is for the sweep.
const PUT_BACK_TIME: Duration = Duration::from_secs(10);

/// Pushes images with an engine.
///
/// An image is lent the target's name for the push, and the names on the host are as before when
/// the call returns. An image without any other name keeps it, since an engine deletes an image
/// with its last name.
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
                    .hint("Write it as `user:password` or as JSON with `username` and `password`, in UTF-8.")
                })?;
                Some(as_docker(&login, to.registry())?)
            }
        };
        login.iter().flat_map(secrets_of).for_each(|s| cx.secrets.conceal(&s));
        Ok(login)
    }

    async fn push_named(&self, cx: &StepCx, spec: &PushSpec) -> Result<Digest> {
        const OP: &str = "Registry::push";
        let prepare = async {
            let login = self.login(cx, &spec.to, spec.credentials.as_ref()).await?;
            let found = self.client.docker().inspect_image(&spec.image).await;
            let image = found.map_err(|e| self.client.error(OP, e))?.id.ok_or_else(|| {
                Error::new(ErrorKind::Unexpected, OP, "the engine did not say which image that is")
                    .with("image", &spec.image)
            })?;
            Ok((login, image))
        };
        // A credential helper may wait for its user.
        let prepared = cx.cancel.race(prepare).await;
        let (login, image) = prepared.unwrap_or_else(|_| Err(cx.cancelled(OP)))?;
        let lent = names::lend(&self.client, &cx.key.build, image, &spec.to).await?;
        let pushed = cx.cancel.race(push::push(&self.client, cx, &spec.to, login)).await;
        let pushed = match pushed {
            // Another driver goes on with this push, and knows by the notes what is lent.
            Err(StopReason::Fenced) => return Err(cx.cancelled(OP)),
            Err(_) => Err(cx.cancelled(OP)),
            Ok(Ok(digest)) => lent.check(&digest).await.map(|()| digest),
            Ok(Err(e)) => Err(e),
        };
        match tokio::time::timeout(PUT_BACK_TIME, lent.give_back()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => cx.log.line(format!("warning: a name could not be put back yet: {e}")),
            Err(_) => cx.log.line("warning: a name could not be put back in time"),
        }
        pushed
    }
}

#[async_trait]
impl Registry for DockerRegistry {
    async fn push(&self, cx: &StepCx, spec: &PushSpec) -> Result<Digest> {
        const OP: &str = "Registry::push";
        if let Some(digest) = spec.to.digest() {
            return Err(Error::new(
                ErrorKind::Invalid,
                OP,
                "a push goes to a tag, not to a digest",
            )
            .with("digest", digest)
            .hint("Leave out `@` and the digest; the registry says which one the image gets."));
        }
        check_image(&spec.image)?;
        let lock = self.client.names().of(&with_tag(&spec.to));
        let Ok(_guard) = cx.cancel.race(lock.lock()).await else { return Err(cx.cancelled(OP)) };
        self.push_named(cx, spec).await
    }

    async fn digest(&self, cx: &StepCx, of: &ImageRef) -> Result<Option<Digest>> {
        const OP: &str = "Registry::digest";
        let ask = async {
            let login = self.login(cx, of, None).await?;
            let answer = self.client.docker().inspect_registry_image(&exact(of), login).await;
            match answer {
                Ok(found) => Ok(found.descriptor.digest.and_then(|d| Digest::parse(&d).ok())),
                Err(Vendor::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
                Err(e) => {
                    let e = self.client.error(OP, e);
                    if e.kind() == ErrorKind::NotFound {
                        Ok(None)
                    } else {
                        Err(e.with("image", of))
                    }
                }
            }
        };
        cx.cancel.race(ask).await.unwrap_or_else(|_| Err(cx.cancelled(OP)))
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        names::sweep(&self.client, self.client.names(), build).await
    }
}

/// A name as the engine's API takes it: never without a tag, which would mean all of them.
fn with_tag(image: &ImageRef) -> String {
    format!("{}:{}", image.name(), image.tag_or_latest().unwrap_or("latest"))
}

/// What a name means in its registry: its digest if it has one, whatever its tag.
fn exact(image: &ImageRef) -> String {
    match image.digest() {
        Some(digest) => format!("{}@{digest}", image.name()),
        None => with_tag(image),
    }
}

/// That a text is an image's id or one of its names, and not a way to another part of the API.
fn check_image(text: &str) -> Result<()> {
    let id = text.strip_prefix("sha256:").unwrap_or(text);
    let is_id = (4..=64).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_hexdigit());
    if is_id {
        return Ok(());
    }
    ImageRef::parse(text).map(drop).map_err(|e| {
        Error::new(ErrorKind::Invalid, "Registry::push", e.to_string())
            .hint("Name the image by its id or by one of its names.")
    })
}
