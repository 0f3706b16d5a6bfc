//! The builder: a recipe and a context go to the engine, and an image comes back.
//!
//! With BuildKit the engine asks for the files it lacks, in a session; from an archive, and with the
//! classic builder, everything is sent.

mod lines;
mod query;
mod recipe;
mod sending;
mod session;
mod trouble;
mod wire;

use crate::{
    client::DockerClient,
    config::BuilderChoice,
    credentials::{CredentialStore, as_docker, secrets_of},
    error::{line_of, said, tidy},
    progress::BuildLog,
};
use async_trait::async_trait;
use bollard::{auth::DockerCredentials, models::BuildInfo};
use kiln::{
    BuildId, BuildSpec, Error, ErrorKind, Image, ImageRef, Recipe, Result, StepCx, StepLog,
    port::Builder,
    secret::{Credentials, Secret, Value},
};
use lines::Lines;
use query::Way;
use recipe::{Contents, Dockerfile, Prepared};
use session::{Offer, Session};
use std::collections::{BTreeMap, HashMap};
use trouble::Trouble;
use wire::Body;

const OP: &str = "Builder::build";
/// What BuildKit takes as one secret.
const SECRET_BYTES_MAX: usize = 500 * 1024;

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

    async fn args(&self, cx: &StepCx, spec: &BuildSpec) -> Result<BTreeMap<String, String>> {
        let mut args = BTreeMap::new();
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
        Ok(args)
    }

    async fn secrets(&self, cx: &StepCx, spec: &BuildSpec) -> Result<BTreeMap<String, Secret>> {
        let mut secrets = BTreeMap::new();
        for (id, name) in &spec.secrets {
            let value = cx.secrets.reveal(name).await?;
            if value.expose().len() > SECRET_BYTES_MAX {
                return Err(Error::new(ErrorKind::Invalid, OP, "a build secret is too large")
                    .with("id", id)
                    .with("limit", SECRET_BYTES_MAX));
            }
            secrets.insert(id.clone(), value);
        }
        Ok(secrets)
    }

    /// The logins that the base images need: those the plan gives, else the host's own.
    async fn credentials(
        &self,
        cx: &StepCx,
        spec: &BuildSpec,
        dockerfile: &Dockerfile,
    ) -> Result<HashMap<String, DockerCredentials>> {
        let mut all = HashMap::new();
        for registry in dockerfile.registries() {
            if let Some(login) = self.logins.login(&registry).await? {
                all.insert(registry, login);
            }
        }
        for (registry, secret) in &spec.credentials {
            let value = cx.secrets.reveal(secret).await?;
            let login = Credentials::parse(&value).ok_or_else(|| {
                Error::new(ErrorKind::Invalid, OP, "the secret holds no user and password")
                    .with("secret", secret)
            })?;
            all.insert(registry.clone(), as_docker(&login, registry)?);
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

    /// Builds, with BuildKit where there is a session and else with the classic builder.
    async fn run(&self, cx: &StepCx, spec: &BuildSpec, prepared: Prepared) -> Result<BuildLog> {
        let logins = self.credentials(cx, spec, &prepared.dockerfile).await?;
        let (args, trouble) = (self.args(cx, spec).await?, Trouble::default());
        let kit = self.client.uses_buildkit().await?;
        if !kit && !spec.secrets.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                OP,
                "only BuildKit keeps build secrets out of the image",
            )
            .hint("Use an engine with BuildKit, and do not set DOCKER_BUILDKIT=0."));
        }
        let session = match kit {
            true => self.session(cx, spec, &prepared, &logins, &trouble).await?,
            false => None,
        };
        let Prepared { dockerfile, context } = prepared;
        let (way, body) = match (&session, context) {
            (Some(session), Contents::Files(files, _)) if files.is_text() => {
                (Way::Session(&session.id), sending::nothing())
            }
            (Some(session), context) => {
                let body = sending::archive(cx, &dockerfile, context, &trouble);
                (Way::Archive(&session.id), body)
            }
            (None, context) => {
                let body = sending::archive(cx, &dockerfile, context, &trouble);
                (Way::Classic(&logins), body)
            }
        };
        let request = query::request(spec, &args, &dockerfile, way, body)?;
        self.follow(cx, request, &trouble).await
    }

    /// A session in which the engine asks; none where something on the way to it forbids that and
    /// the classic builder does as well.
    async fn session(
        &self,
        cx: &StepCx,
        spec: &BuildSpec,
        prepared: &Prepared,
        logins: &HashMap<String, DockerCredentials>,
        trouble: &Trouble,
    ) -> Result<Option<Session>> {
        let offer = Offer {
            directories: sending::directories(prepared),
            shared_key: sending::shared_key(cx, spec, &prepared.context),
            secrets: self.secrets(cx, spec).await?,
            logins: logins.clone(),
        };
        let open = Session::open(&self.client, offer, trouble.clone()).await;
        let may_do_without =
            self.client.config().builder == BuilderChoice::Auto && spec.secrets.is_empty();
        match open {
            Ok(session) => Ok(Some(session)),
            // Proxies before an engine often let builds through and sessions not.
            Err(e)
                if may_do_without
                    && matches!(
                        e.kind(),
                        ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::Unsupported
                    ) =>
            {
                cx.log.line(format!(
                    "warning: the engine opens no build session ({e}); the classic builder is used"
                ));
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Asks for a build and logs what the engine says until it is over.
    async fn follow(
        &self,
        cx: &StepCx,
        request: hyper::Request<Body>,
        trouble: &Trouble,
    ) -> Result<BuildLog> {
        let heard = async {
            let mut answer = wire::send(&self.client, request).await?;
            let (mut lines, mut seen) = (Lines::default(), BuildLog::default());
            while let Some(piece) = answer.next(&self.client).await? {
                for message in lines.push(&piece)? {
                    hear(&mut seen, &cx.log, message).await?;
                }
            }
            if let Some(message) = lines.finish()? {
                hear(&mut seen, &cx.log, message).await?;
            }
            Ok(seen)
        };
        // What went wrong on our side is why the engine could not go on.
        heard.await.map_err(|e| trouble.take().unwrap_or(e))
    }

    async fn image(&self, spec: &BuildSpec, seen: &BuildLog) -> Result<Image> {
        let named = spec.tags.first().map(with_tag);
        let name = seen.image.clone().or(named).ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, OP, "the engine did not say which image it built")
        })?;
        let found = self.client.docker().inspect_image(&name).await;
        let found = found.map_err(|e| self.client.error(OP, e))?;
        Ok(Image {
            id: found.id.unwrap_or(name),
            tags: spec.tags.clone(),
            bytes: found.size.and_then(|s| u64::try_from(s).ok()).unwrap_or(0),
        })
    }
}

/// Takes in what the engine says; an error if that is one.
async fn hear(seen: &mut BuildLog, log: &StepLog, message: BuildInfo) -> Result<()> {
    match message.error_detail {
        Some(detail) => {
            let text = detail.message.unwrap_or_default();
            // What the engine says while it builds is about the recipe unless it is plainly about
            // something else.
            Err(said(OP, &tidy(&text), ErrorKind::Failed))
        }
        None => {
            seen.take(log, message).await;
            Ok(())
        }
    }
}

/// An error of the Dockerfile, with the place and the words it is about.
fn placed(e: Error, name: &str, text: Option<&str>) -> Error {
    let line = (e.kind() == ErrorKind::Invalid).then(|| line_of(e.message())).flatten();
    let Some(line) = line else { return e };
    let e = e.with("at", format!("{name}:{line}"));
    match text.and_then(|t| t.lines().nth(line.checked_sub(1)?)) {
        Some(words) => e.with("text", words.trim().chars().take(200).collect::<String>()),
        None => e,
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
        let build = async {
            let bytes_max = self.client.config().context_bytes_max;
            let prepared = recipe::prepare(cx, spec, bytes_max).await?;
            let (name, text) =
                (prepared.dockerfile.shown.clone(), prepared.dockerfile.text.clone());
            let seen = self.run(cx, spec, prepared).await;
            let seen = seen.map_err(|e| placed(e, &name, text.as_deref()))?;
            self.image(spec, &seen).await
        };
        // Dropping the connections is how the engine is told to stop: it ends what runs.
        cx.cancel.race(build).await.map_err(|_| cx.cancelled(OP))?
    }

    async fn sweep(&self, _: &BuildId) -> Result<()> {
        // The engine removes what a build leaves as soon as the connection is gone: the classic
        // builder by `forcerm`, BuildKit by itself.
        Ok(())
    }
}

/// A name as the engine's API takes it: never without a tag, which would mean all of them.
pub(crate) fn with_tag(image: &ImageRef) -> String {
    format!("{}:{}", image.name(), image.tag_or_latest().unwrap_or("latest"))
}
