//! What a build leaves: directories of boxes as artifacts, and caches for later builds.

use super::caches;
use crate::{
    BuildState, CacheKey, ContainerRef, Error, ErrorKind, Op, Output, RelPath, Result, StepCx,
    port::{ArtifactKey, ByteStream},
    tar::holds_anything,
    toolbox::Toolbox,
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Where one archive ends up.
struct Archive {
    key: ArtifactKey,
    bytes_max: u64,
    op: &'static str,
}

/// Performs a step that moves an archive between a box and the artifacts.
pub(super) async fn perform(
    tools: &Toolbox,
    state: &BuildState,
    cx: &StepCx,
    op: &Op,
) -> Result<Output> {
    let work = async {
        match op {
            Op::Collect { in_box, paths, name, bytes_max, optional } => {
                let key = ArtifactKey { build: cx.key.build.clone(), name: name.clone() };
                let to = Archive { key, bytes_max: *bytes_max, op: "Engine::collect" };
                let container = ContainerRef::Box(in_box.clone());
                for path in paths {
                    if let Some(archive) = found(tools, cx, &container, path).await? {
                        return keep(tools, &to, archive).await;
                    }
                }
                if *optional {
                    return Ok(noted("artifact", "none"));
                }
                let message = "there is nothing to collect: no path is there and holds anything";
                Err(Error::new(ErrorKind::NotFound, to.op, message).with("paths", paths.join(", ")))
            }
            Op::Save { cache, in_box, path, bytes_max } => {
                let to = Archive { key: at(cache, cx), bytes_max: *bytes_max, op: "Engine::save" };
                let container = ContainerRef::Box(in_box.clone());
                caches::note(tools, &cx.owner, cache).await;
                // Nothing of where it was, so that it can be put anywhere.
                let inside = format!("{}/.", path.trim_end_matches('/'));
                let archive = tools.containers()?.read(&cx.key.build, &container, &inside).await?;
                keep(tools, &to, archive).await
            }
            Op::Restore { cache, in_box, path, bytes_max } => {
                let from =
                    Archive { key: at(cache, cx), bytes_max: *bytes_max, op: "Engine::restore" };
                let Some(bytes) = size(tools, &from.key).await? else {
                    return Ok(noted("cache", "none"));
                };
                if bytes > from.bytes_max {
                    return Err(too_large(&from, "the cache"));
                }
                caches::note(tools, &cx.owner, cache).await;
                let spec = &state.plan().boxes()[in_box];
                tools.runtime()?.start(cx, in_box, spec).await?;
                let archive = match tools.artifacts.get(&from.key).await {
                    Err(e) if e.kind() == ErrorKind::NotFound => return Ok(noted("cache", "none")),
                    archive => archive?,
                };
                let container = ContainerRef::Box(in_box.clone());
                tools.containers()?.write(&cx.key.build, &container, path, archive).await?;
                Ok(noted("cache", &format!("{bytes} bytes")))
            }
            _ => Err(Error::new(ErrorKind::Unexpected, "Engine::keep", "nothing is kept there")),
        }
    };
    cx.cancel.race(work).await.unwrap_or_else(|_| Err(cx.cancelled("Engine::keep")))
}

/// The archive that a cache of the build's owner is.
fn at(cache: &CacheKey, cx: &StepCx) -> ArtifactKey {
    let name = RelPath::new(CacheKey::ARCHIVE).expect("a legal path");
    ArtifactKey { build: cache.build(&cx.owner), name }
}

fn noted(name: &str, note: &str) -> Output {
    let notes = BTreeMap::from([(name.to_owned(), note.to_owned())]);
    Output { notes, ..Output::default() }
}

fn too_large(archive: &Archive, what: &str) -> Error {
    Error::new(ErrorKind::Failed, archive.op, format!("{what} is larger than it may be"))
        .with("bytes_max", archive.bytes_max)
        .hint("Leave something out, or allow more.")
}

/// The size of an artifact, if there is one.
async fn size(tools: &Toolbox, key: &ArtifactKey) -> Result<Option<u64>> {
    let all = match tools.artifacts.list(&key.build).await {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        all => all?,
    };
    let wanted = key.to_string();
    Ok(all.into_iter().find(|artifact| artifact.key == wanted).map(|artifact| artifact.bytes))
}

/// Keeps an archive. One that is too large fails the step, and what was kept before stays.
async fn keep(tools: &Toolbox, to: &Archive, archive: ByteStream) -> Result<Output> {
    let (taken, max) = (Arc::new(AtomicU64::new(0)), to.bytes_max);
    let counted = archive.and_then({
        let taken = taken.clone();
        move |piece| {
            let sum = taken.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
            let fits = sum <= max;
            async move {
                fits.then_some(piece).ok_or_else(|| {
                    Error::new(ErrorKind::Failed, "Engine::keep", "the archive is too large")
                })
            }
        }
    });
    match tools.artifacts.put(&to.key, counted.boxed()).await {
        Ok(artifact) => Ok(Output { artifact: Some(artifact), ..Output::default() }),
        // Whatever the store made of it: this is why.
        Err(_) if taken.load(Ordering::Relaxed) > max => Err(too_large(to, "the archive")),
        Err(e) => Err(e),
    }
}

/// What is at a path of a container, unless nothing is, or only a directory with nothing in it.
async fn found(
    tools: &Toolbox,
    cx: &StepCx,
    container: &ContainerRef,
    path: &str,
) -> Result<Option<ByteStream>> {
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    let mut archive = match tools.containers()?.read(&cx.key.build, container, path).await {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        archive => archive?,
    };
    let mut head = BytesMut::new();
    let full = loop {
        match holds_anything(&head) {
            Some(full) => break full,
            None => match archive.try_next().await? {
                Some(piece) => head.extend_from_slice(&piece),
                // Cut short: that is for whoever unpacks it to say.
                None => break !head.is_empty(),
            },
        }
    };
    let head = stream::iter([Ok::<Bytes, Error>(head.freeze())]);
    Ok(full.then(|| head.chain(archive).boxed()))
}
