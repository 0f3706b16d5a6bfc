//! The builder: a recipe and a context go to the engine, and an image comes back.

mod recipe;

use crate::{
    client::DockerClient,
    credentials::{CredentialStore, as_docker, secrets_of},
    error::said,
    progress::BuildLog,
};
use async_trait::async_trait;
use bollard::{
    auth::DockerCredentials,
    errors::Error as Vendor,
    query_parameters::{BuildImageOptions, BuilderVersion, TagImageOptions},
};
use futures::StreamExt;
use kiln::{
    BuildId, BuildSpec, Error, ErrorKind, Image, ImageRef, Recipe, Result, StepCx,
    port::Builder,
    secret::{Credentials, Value},
};
use recipe::Prepared;
use std::{collections::HashMap, time::Duration};

const OP: &str = "Builder::build";

/// Builds Dockerfiles with an engine: with BuildKit where the engine has it.
#[derive(Clone, Debug)]
pub struct DockerBuilder {
    client: DockerClient,
    logins: CredentialStore,
}

impl DockerBuilder {
    /// A builder of an engine, with the host's own registry logins.
    pub fn new(client: DockerClient) -> Self {
        let logins = CredentialStore::new(client.config().config_dir.clone());
        Self { client, logins }
    }

    async fn options(&self, cx: &StepCx, spec: &BuildSpec, kit: bool) -> Result<BuildImageOptions> {
        let mut args = HashMap::new();
        for (name, value) in &spec.args {
            if matches!(value, Value::Secret(_)) {
                cx.log.line(format!(
                    "warning: the build argument {name} stays readable in the image's history"
                ));
            }
            let value = cx.secrets.resolve(value).await?;
            let text = value.expose_str().ok_or_else(|| {
                Error::new(ErrorKind::Invalid, OP, "a build argument is not text")
                    .with("name", name)
            })?;
            args.insert(name.clone(), text.to_owned());
        }
        Ok(BuildImageOptions {
            t: spec.tags.first().map(with_tag),
            nocache: spec.no_cache,
            pull: spec.pull.then(|| "1".to_owned()),
            rm: true,
            forcerm: true,
            buildargs: Some(args),
            labels: Some(spec.labels.clone().into_iter().collect()),
            platform: spec.platform.clone().unwrap_or_default(),
            target: spec.target.clone().unwrap_or_default(),
            version: if kit { BuilderVersion::BuilderBuildKit } else { BuilderVersion::BuilderV1 },
            session: kit.then(|| format!("kiln-{}", cx.key.to_string().replace('/', "-"))),
            ..BuildImageOptions::default()
        })
    }

    /// The logins that the base images need: those the plan gives, else the host's own.
    async fn credentials(
        &self,
        cx: &StepCx,
        spec: &BuildSpec,
        registries: &[String],
    ) -> Result<HashMap<String, DockerCredentials>> {
        let mut all = HashMap::new();
        for registry in registries {
            if let Some(login) = self.logins.login(registry).await? {
                all.insert(registry.clone(), login);
            }
        }
        for (registry, secret) in &spec.credentials {
            let value = cx.secrets.reveal(secret).await?;
            let login = Credentials::parse(&value).ok_or_else(|| {
                Error::new(ErrorKind::Invalid, OP, "the secret holds no user and password")
                    .with("secret", secret)
            })?;
            all.insert(registry.clone(), as_docker(&login, registry));
        }
        // Each of the engine's builders looks Docker Hub up under a name of its own.
        if let Some(hub) = all.get("docker.io").cloned() {
            for name in ["https://index.docker.io/v1/", "registry-1.docker.io"] {
                all.insert(name.into(), hub.clone());
            }
        }
        for secret in all.values().flat_map(secrets_of) {
            cx.secrets.conceal(&secret);
        }
        Ok(all)
    }

    async fn send(
        &self,
        cx: &StepCx,
        options: BuildImageOptions,
        credentials: HashMap<String, DockerCredentials>,
        prepared: Prepared,
    ) -> Result<BuildLog> {
        let trouble = prepared.trouble.clone();
        let body = bollard::body_try_stream(prepared.body);
        let mut stream = self.client.docker().build_image(options, Some(credentials), Some(body));
        let mut seen = BuildLog::default();
        loop {
            let next = cx.cancel.race(stream.next()).await;
            // Dropping the stream is how the engine is told to stop: it ends what runs.
            match next.map_err(|_| cx.cancelled(OP))? {
                None => return Ok(seen),
                Some(Ok(info)) => seen.take(&cx.log, info).await,
                Some(Err(e)) => {
                    if let Some(own) = trouble.take() {
                        return Err(own);
                    }
                    return Err(match e {
                        // What the engine says in the stream is about the recipe unless it is
                        // plainly about something else.
                        Vendor::DockerStreamError { error } => {
                            said(OP, &tidy(&error), ErrorKind::Failed)
                        }
                        other => self.client.error(OP, other),
                    });
                }
            }
        }
    }

    async fn image(&self, spec: &BuildSpec, seen: &BuildLog) -> Result<Image> {
        let named = spec.tags.first().map(with_tag);
        let name = seen.image.clone().or(named).ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, OP, "the engine did not say which image it built")
        })?;
        let docker = self.client.docker();
        let found = docker.inspect_image(&name).await.map_err(|e| self.client.error(OP, e))?;
        for tag in &spec.tags {
            let options = TagImageOptions {
                repo: Some(tag.name()),
                tag: tag.tag_or_latest().map(str::to_owned),
            };
            docker.tag_image(&name, Some(options)).await.map_err(|e| self.client.error(OP, e))?;
        }
        Ok(Image {
            id: found.id.unwrap_or(name),
            tags: spec.tags.clone(),
            bytes: found.size.and_then(|s| u64::try_from(s).ok()).unwrap_or(0),
        })
    }
}

#[async_trait]
impl Builder for DockerBuilder {
    fn accepts(&self, recipe: &Recipe) -> bool {
        matches!(recipe, Recipe::Dockerfile { .. } | Recipe::Inline { .. })
    }

    async fn build(&self, cx: &StepCx, spec: &BuildSpec) -> Result<Image> {
        if let Some(tag) = spec.tags.iter().find(|t| t.digest().is_some()) {
            return Err(Error::new(
                ErrorKind::Invalid,
                OP,
                "an image cannot be built under a digest",
            )
            .with("tag", tag));
        }
        let prepared = recipe::prepare(cx, spec, self.client.config().context_bytes_max).await?;
        let kit = self.client.uses_buildkit().await?;
        let credentials = self.credentials(cx, spec, &prepared.registries).await?;
        let mut options = self.options(cx, spec, kit).await?;
        options.dockerfile.clone_from(&prepared.dockerfile);
        let seen = self.send(cx, options, credentials, prepared).await?;
        self.image(spec, &seen).await
    }

    async fn sweep(&self, _: &BuildId) -> Result<()> {
        // The engine removes what a build leaves as soon as the connection is gone: the classic
        // builder by `forcerm`, BuildKit by itself. Give it the moment it takes.
        tokio::time::sleep(Duration::ZERO).await;
        Ok(())
    }
}

/// A name as the engine's API takes it: never without a tag, which would mean all of them.
pub(crate) fn with_tag(image: &ImageRef) -> String {
    format!("{}:{}", image.name(), image.tag_or_latest().unwrap_or("latest"))
}

/// What BuildKit says of a failure, without the words that tell nothing.
fn tidy(text: &str) -> String {
    let text = text.strip_prefix("failed to solve with frontend dockerfile.v0: ").unwrap_or(text);
    let text = text.strip_prefix("failed to solve: ").unwrap_or(text);
    let text = text.strip_prefix("rpc error: code = Unknown desc = ").unwrap_or(text);
    text.strip_prefix("executor failed running ")
        .map_or_else(|| text.to_owned(), |t| format!("the instruction failed: {t}"))
}
