//! The containers port: commits, sizes and files of containers.

use crate::{
    builder::with_tag,
    client::DockerClient,
    error::is_below_a_file,
    labels::{BOX, BUILD, HOME, HomeId, Place, SERVICE, USER},
};
use async_trait::async_trait;
use bollard::{
    body_try_stream,
    errors::Error as Vendor,
    models::{ContainerConfig, ContainerInspectResponse},
    query_parameters::{
        CommitContainerOptions, ContainerArchiveInfoOptions, DownloadFromContainerOptions,
        InspectContainerOptions, RemoveImageOptions, TagImageOptions, UploadToContainerOptions,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use kiln::{
    BuildId, CommitSpec, ContainerRef, Error, ErrorKind, Image, ImageRef, Result, StepCx,
    port::{ByteStream, Containers},
    tar,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long an engine may take to unpack an archive.
const WRITE_TIME: Duration = Duration::from_secs(3_600);

/// Works on the containers of an engine.
///
/// An image that is made of a box has the command, the user and the directory of the box's own
/// image, and no label of Kiln's: nobody takes a container of it for ours.
#[derive(Clone, Debug)]
pub struct DockerContainers {
    client: DockerClient,
    home: HomeId,
}

impl DockerContainers {
    /// The containers of an engine; boxes are those of builds of a home.
    pub fn new(client: DockerClient, home: HomeId) -> Self {
        Self { client, home }
    }

    /// The container that is meant; for one that is a box, it has the labels of the box.
    async fn find(
        &self,
        build: &BuildId,
        container: &ContainerRef,
        size: bool,
        op: &'static str,
    ) -> Result<ContainerInspectResponse> {
        let unknown = || {
            let name = match container {
                ContainerRef::Box(name) => name.as_str(),
                ContainerRef::Container(name) => name,
            };
            Error::new(ErrorKind::NotFound, op, "there is no such container")
                .with("container", name)
        };
        let place = match container {
            ContainerRef::Box(name) => {
                Some(Place { home: self.home.clone(), build: build.clone(), in_box: name.clone() })
            }
            ContainerRef::Container(_) => None,
        };
        let name = match (&place, container) {
            (Some(place), _) => place.name(None),
            // Anything else in a name would say another path of the engine's API.
            (None, ContainerRef::Container(name)) if is_name(name) => name.clone(),
            _ => return Err(unknown()),
        };
        let options = InspectContainerOptions { size };
        let found = match self.client.docker().inspect_container(&name, Some(options)).await {
            Ok(found) => found,
            Err(Vendor::DockerResponseServerError { status_code: 404, .. }) => {
                return Err(unknown());
            }
            Err(e) => return Err(self.client.error(op, e).with("container", name)),
        };
        let labels = found.config.as_ref().and_then(|c| c.labels.as_ref());
        match place {
            Some(place) if !place.owns(labels, None) => Err(unknown()),
            _ => Ok(found),
        }
    }

    /// What an image of a box has in place of what the box needed.
    async fn config(&self, found: &ContainerInspectResponse) -> Result<ContainerConfig> {
        const OP: &str = "Containers::commit";
        let labels = found.config.as_ref().and_then(|c| c.labels.as_ref());
        let Some(user) = labels.filter(|l| l.contains_key(HOME)).and_then(|l| l.get(USER)) else {
            return Ok(ContainerConfig::default());
        };
        let image = found.image.as_deref().unwrap_or_default();
        let image = self.client.docker().inspect_image(image).await;
        let image = image.map_err(|e| self.client.error(OP, e))?.config.unwrap_or_default();
        let blank = [HOME, BUILD, BOX, SERVICE, USER];
        Ok(ContainerConfig {
            // Empty, and not left out: that would mean the box's own.
            entrypoint: Some(image.entrypoint.unwrap_or_default()),
            cmd: image.cmd,
            user: Some(user.clone()),
            working_dir: Some(image.working_dir.filter(|d| !d.is_empty()).unwrap_or("/".into())),
            // A commit takes labels over and cannot drop them.
            labels: Some(blank.map(|l| (l.to_owned(), String::new())).into()),
            ..ContainerConfig::default()
        })
    }

    async fn make(&self, id: &str, spec: &CommitSpec, config: ContainerConfig) -> Result<String> {
        const OP: &str = "Containers::commit";
        let options = CommitContainerOptions {
            container: Some(id.to_owned()),
            comment: spec.message.clone(),
            author: spec.author.clone(),
            pause: !spec.without_pause,
            changes: Some(spec.changes.join("\n")).filter(|c| !c.is_empty()),
            ..CommitContainerOptions::default()
        };
        let made = self.client.docker().commit_container(options, config).await;
        Ok(made.map_err(|e| self.client.error(OP, e).with("container", id))?.id)
    }

    /// `NotFound` unless a path is a directory: an engine would make one.
    async fn expect_directory(&self, id: &str, path: &str) -> Result<()> {
        const OP: &str = "Containers::write";
        // As a directory it has something inside, and anything else has not.
        let inside = format!("{}/.", path.trim_end_matches('/'));
        let options = ContainerArchiveInfoOptions { path: inside };
        let found = self.client.docker().get_container_archive_info(id, Some(options)).await;
        // What answers to this request has no words: 500 is for something else than a directory.
        found.map(drop).map_err(|e| match e {
            Vendor::DockerResponseServerError { status_code: 404 | 500, .. } => {
                Error::new(ErrorKind::NotFound, OP, "there is no such directory").with("path", path)
            }
            e => self.client.error(OP, e),
        })
    }

    /// Gives an image all names, or none: what a name meant before, it means again.
    async fn name_all(&self, image: &str, names: &[ImageRef]) -> Result<()> {
        let mut before = Vec::with_capacity(names.len());
        for name in names {
            let had = self.client.docker().inspect_image(&with_tag(name)).await;
            let had = had.ok().and_then(|i| i.id);
            let named = self.name(image, name).await;
            before.push((name, had));
            if let Err(e) = named {
                for (name, had) in before.into_iter().rev() {
                    // The first error is the one to tell.
                    let _ = match had {
                        Some(had) => self.name(&had, name).await,
                        None => self.forget(&with_tag(name)).await,
                    };
                }
                return Err(e.with("name", name));
            }
        }
        Ok(())
    }

    async fn name(&self, image: &str, name: &ImageRef) -> Result<()> {
        let options = TagImageOptions {
            repo: Some(name.name()),
            tag: name.tag_or_latest().map(str::to_owned),
        };
        let named = self.client.docker().tag_image(image, Some(options)).await;
        named.map_err(|e| self.client.error("Containers::commit", e))
    }

    async fn forget(&self, image: &str) -> Result<()> {
        let options = RemoveImageOptions { force: false, noprune: true, platforms: None };
        let removed = self.client.docker().remove_image(image, Some(options), None).await;
        removed.map(drop).map_err(|e| self.client.error("Containers::commit", e))
    }
}

#[async_trait]
impl Containers for DockerContainers {
    async fn commit(
        &self,
        cx: &StepCx,
        container: &ContainerRef,
        spec: &CommitSpec,
    ) -> Result<Image> {
        const OP: &str = "Containers::commit";
        let found = self.find(&cx.key.build, container, false, OP).await?;
        if let Some(tag) = spec.tags.iter().find(|t| t.digest().is_some()) {
            let message = "an image cannot be made under a digest";
            return Err(Error::new(ErrorKind::Invalid, OP, message).with("tag", tag));
        }
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(OP));
        }
        let config = self.config(&found).await?;
        let id = found.id.unwrap_or_default();
        let (this, sent) = (self.clone(), spec.clone());
        // The engine copies on whether or not we wait, so somebody has to remove a late image.
        let (tell, told) = futures::channel::oneshot::channel();
        tokio::spawn(async move {
            let made = this.make(&id, &sent, config).await;
            if let Err(Ok(image)) = tell.send(made) {
                let _ = this.forget(&image).await;
            }
        });
        let made = cx.cancel.race(told).await.map_err(|_| cx.cancelled(OP))?;
        let image = made.map_err(|_| {
            Error::new(ErrorKind::Unexpected, OP, "the commit ended without an answer")
        })??;
        if let Err(e) = self.name_all(&image, &spec.tags).await {
            // The first error is the one to tell.
            let _ = self.forget(&image).await;
            return Err(e);
        }
        let made = self.client.docker().inspect_image(&image).await;
        let bytes = made.map_err(|e| self.client.error(OP, e))?.size;
        let bytes = bytes.and_then(|s| u64::try_from(s).ok()).unwrap_or(0);
        Ok(Image { id: image, tags: spec.tags.clone(), bytes })
    }

    async fn measure(&self, build: &BuildId, container: &ContainerRef) -> Result<u64> {
        const OP: &str = "Containers::measure";
        let found = self.find(build, container, true, OP).await?;
        found.size_root_fs.and_then(|s| u64::try_from(s).ok()).ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, OP, "the engine does not tell the size")
        })
    }

    async fn read(
        &self,
        build: &BuildId,
        container: &ContainerRef,
        path: &str,
    ) -> Result<ByteStream> {
        const OP: &str = "Containers::read";
        check_path(path, OP)?;
        let found = self.find(build, container, false, OP).await?;
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        let id = found.id.unwrap_or_default();
        let mut chunks = Box::pin(self.client.docker().download_from_container(&id, Some(options)));
        let client = self.client.clone();
        // Whether there is such a file is known with the first chunk.
        let first = match chunks.next().await {
            Some(Ok(first)) => first,
            None => return Ok(stream::empty().boxed()),
            Some(Err(e)) if is_below_a_file(&e) => {
                let message = "there is no such path: a part of it is a file";
                return Err(Error::new(ErrorKind::NotFound, OP, message).with("path", path));
            }
            Some(Err(e)) => return Err(client.error(OP, e).with("path", path)),
        };
        let rest = chunks.map(move |chunk| chunk.map_err(|e| client.error(OP, e)));
        Ok(stream::iter([Ok(first)]).chain(rest).boxed())
    }

    async fn write(
        &self,
        build: &BuildId,
        container: &ContainerRef,
        path: &str,
        archive: ByteStream,
    ) -> Result<()> {
        const OP: &str = "Containers::write";
        check_path(path, OP)?;
        let id = self.find(build, container, false, OP).await?.id.unwrap_or_default();
        self.expect_directory(&id, path).await?;
        let options = UploadToContainerOptions { path: "/".into(), ..Default::default() };
        let archive = tar::below(archive, path);
        // What broke on our side breaks the request off, and is what to tell.
        let broken = Arc::new(Mutex::new(None));
        let body = archive.map_err({
            let broken = broken.clone();
            move |e| {
                *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                std::io::Error::other("the archive failed")
            }
        });
        let docker = self.client.docker().clone().with_timeout(WRITE_TIME);
        let sent = docker.upload_to_container(&id, Some(options), body_try_stream(body)).await;
        let broken = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (sent, broken) {
            (_, Some(e)) => Err(e),
            (Ok(()), None) => Ok(()),
            (Err(e), None) => Err(self.client.error(OP, e).with("path", path)),
        }
    }
}

/// Whether a text can be the id or the name of a container.
fn is_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= 255
        && text.chars().all(legal)
}

fn check_path(path: &str, op: &'static str) -> Result<()> {
    if path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|p| p == "..") {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, op, "that is not an absolute path in a container")
        .with("path", path)
        .hint("Begin with `/` and leave out `..`."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_say_nothing_else() {
        for bad in ["", "a/b", "../x", ".", "-a", "a?b", "a%2fb", &"a".repeat(256)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_name("kiln-b1-main.x_2"));
        for bad in ["", "a", "/a/../b", "/..", "/a\0"] {
            assert!(check_path(bad, "x").is_err(), "{bad:?}");
        }
        assert!(check_path("/a/..b", "x").is_ok());
    }
}
