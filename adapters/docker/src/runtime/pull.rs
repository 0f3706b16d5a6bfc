//! Images of boxes and services: used as they are, and pulled where the engine has none.

use super::DockerRuntime;
use crate::{
    builder::with_tag,
    credentials::{as_docker, secrets_of},
    error::said,
    progress::layer,
};
use bollard::{
    auth::DockerCredentials, errors::Error as Vendor, models::ImageInspect,
    query_parameters::CreateImageOptions,
};
use futures::StreamExt;
use kiln::{Error, ErrorKind, ImageRef, Result, SecretRef, StepCx, secret::Credentials};
use std::{collections::BTreeMap, pin::pin};

const OP: &str = "Runtime::start";

/// An image as the engine's API takes it: by its digest where the name says one.
pub(super) fn name_of(image: &ImageRef) -> String {
    match image.digest() {
        Some(digest) => format!("{}@{digest}", image.name()),
        None => with_tag(image),
    }
}

/// The image of a name, pulled if the engine has none.
pub(super) async fn image(
    runtime: &DockerRuntime,
    cx: &StepCx,
    image: &ImageRef,
    credentials: Option<&SecretRef>,
) -> Result<ImageInspect> {
    if let Some(found) = find(runtime, image).await? {
        return Ok(found);
    }
    let login = login(runtime, cx, image, credentials).await?;
    pull(runtime, cx, image, login).await.map_err(|e| e.with("image", image))?;
    find(runtime, image).await?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, OP, "the image is gone right after its pull")
            .with("image", image)
    })
}

async fn find(runtime: &DockerRuntime, image: &ImageRef) -> Result<Option<ImageInspect>> {
    match runtime.client.docker().inspect_image(&name_of(image)).await {
        Ok(found) => Ok(Some(found)),
        Err(Vendor::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(e) => Err(runtime.client.error(OP, e).with("image", image)),
    }
}

async fn login(
    runtime: &DockerRuntime,
    cx: &StepCx,
    image: &ImageRef,
    credentials: Option<&SecretRef>,
) -> Result<Option<DockerCredentials>> {
    let login = match credentials {
        None => runtime.logins.login(image.registry()).await?,
        Some(secret) => {
            let value = cx.secrets.reveal(secret).await?;
            let login = Credentials::parse(&value).ok_or_else(|| {
                Error::new(ErrorKind::Invalid, OP, "the secret holds no user and password")
                    .with("secret", secret)
                    .hint("Write it as `user:password` or as JSON with `username` and `password`.")
            })?;
            Some(as_docker(&login, image.registry())?)
        }
    };
    login.iter().flat_map(secrets_of).for_each(|s| cx.secrets.conceal(&s));
    Ok(login)
}

async fn pull(
    runtime: &DockerRuntime,
    cx: &StepCx,
    image: &ImageRef,
    login: Option<DockerCredentials>,
) -> Result<()> {
    cx.log.line(format!("pulling {image}"));
    let options =
        CreateImageOptions { from_image: Some(name_of(image)), ..CreateImageOptions::default() };
    let mut stream = pin!(runtime.client.docker().create_image(Some(options), None, login));
    let mut layers = BTreeMap::new();
    loop {
        let next = cx.cancel.race(stream.next()).await.map_err(|_| cx.cancelled(OP))?;
        match next {
            None => return Ok(()),
            Some(Ok(info)) => {
                let status = info.status.unwrap_or_default();
                layer(&cx.log, &mut layers, info.id.as_deref(), &status, info.progress_detail);
            }
            Some(Err(Vendor::DockerStreamError { error })) => {
                return Err(said(OP, &error, ErrorKind::Unavailable));
            }
            Some(Err(e)) => return Err(runtime.client.error(OP, e)),
        }
    }
}
