use super::{
    lock, sha256,
    tar::{Entry, Kind},
};
use crate::{
    BoxName, BuildId, ContainerRef, Error, ErrorKind, Image, ImageRef, Result, SessionName,
    StepKey, Timestamp, port::Exit,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

/// A machine that is only pretended: the images, boxes and containers that the scripted adapters
/// share. Clones share everything.
///
/// It outlives an engine that was dropped, as a real machine does.
#[derive(Clone, Debug, Default)]
pub struct MemoryHost(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) images: Vec<Image>,
    pub(super) missing: HashSet<ImageRef>,
    pub(super) boxes: BTreeMap<(BuildId, BoxName), Container>,
    pub(super) containers: BTreeMap<String, Container>,
    pub(super) commands: BTreeMap<StepKey, Ran>,
    pub(super) sessions: BTreeMap<(BuildId, BoxName, SessionName), Shell>,
}

/// A container: what it wrote to its disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Container {
    pub(super) files: BTreeMap<String, Entry>,
}

impl Container {
    /// Whether there is a directory: the root, one that was made, or one that holds something.
    pub(super) fn has_directory(&self, path: &str) -> bool {
        let below = format!("{path}/");
        let first = self.files.range(below.clone()..).next();
        path.is_empty()
            || self.files.get(path).is_some_and(|entry| entry.kind == Kind::Directory)
            || first.is_some_and(|(p, _)| p.starts_with(&below))
    }
}

/// A command that was started: all that is needed to attach to it.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    pub(super) started: Timestamp,
    pub(super) script: super::script::Script,
    pub(super) stopped: bool,
    pub(super) told: Option<Exit>,
}

/// The shell of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Shell {
    pub(super) env: BTreeMap<String, Vec<u8>>,
    pub(super) ended: bool,
}

impl MemoryHost {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }

    /// Adds an image of this name, as if it had been built earlier.
    pub fn add_image(&self, name: ImageRef) -> Image {
        let text = name.canonical();
        self.lock().tag(text.as_bytes(), text.len() as u64, &[name])
    }

    /// Makes an image one that no registry has, so that boxes of it cannot start.
    pub fn miss_image(&self, name: ImageRef) {
        self.lock().missing.insert(name);
    }

    /// Adds a container that no build made, or a file to it.
    pub fn add_file(&self, container: &str, path: &str, bytes: impl Into<Bytes>) {
        let mut inner = self.lock();
        let container = inner.containers.entry(container.to_owned()).or_default();
        container.files.insert(path.to_owned(), Entry::file(bytes.into()));
    }

    /// Puts a file into a box of a build, as a command in it would; makes the box if need be.
    pub fn add_to_box(&self, build: &BuildId, name: &BoxName, path: &str, bytes: impl Into<Bytes>) {
        let mut inner = self.lock();
        let container = inner.boxes.entry((build.clone(), name.clone())).or_default();
        container.files.insert(path.to_owned(), Entry::file(bytes.into()));
    }

    /// Makes a directory in a box of a build, as a command in it would; makes the box if need be.
    pub fn make_directory(&self, build: &BuildId, name: &BoxName, path: &str) {
        let mut inner = self.lock();
        let container = inner.boxes.entry((build.clone(), name.clone())).or_default();
        container.files.entry(path.to_owned()).or_insert_with(Entry::directory);
    }

    /// The images, in the order in which they were made.
    pub fn images(&self) -> Vec<Image> {
        self.lock().images.clone()
    }

    /// The boxes that are there.
    pub fn boxes(&self) -> Vec<(BuildId, BoxName)> {
        self.lock().boxes.keys().cloned().collect()
    }

    /// The attempts whose commands are remembered, over or not.
    pub fn commands(&self) -> Vec<StepKey> {
        self.lock().commands.keys().cloned().collect()
    }
}

impl Inner {
    /// Makes an image of a content, or finds it, and moves names to it.
    pub(super) fn tag(&mut self, content: &[u8], bytes: u64, tags: &[ImageRef]) -> Image {
        let id = sha256(content).to_string();
        for image in &mut self.images {
            image.tags.retain(|t| !tags.iter().any(|new| same(t, new)));
        }
        let known = self.images.iter().position(|i| i.id == id);
        let at = known.unwrap_or_else(|| {
            self.images.push(Image { id, tags: Vec::new(), bytes });
            self.images.len() - 1
        });
        let image = &mut self.images[at];
        image.tags.extend_from_slice(tags);
        image.clone()
    }

    /// The image of an id or a name.
    pub(super) fn image(&self, image: &str, op: &'static str) -> Result<&Image> {
        let name = ImageRef::parse(image).ok();
        let is = |i: &&Image| {
            i.id == image || name.as_ref().is_some_and(|n| i.tags.iter().any(|t| same(t, n)))
        };
        self.images.iter().find(is).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, op, "the host has no such image").with("image", image)
        })
    }

    /// A container of the host or a box of a build.
    pub(super) fn container(
        &self,
        build: &BuildId,
        container: &ContainerRef,
        op: &'static str,
    ) -> Result<&Container> {
        let found = match container {
            ContainerRef::Box(name) => self.boxes.get(&(build.clone(), name.clone())),
            ContainerRef::Container(name) => self.containers.get(name),
        };
        found.ok_or_else(|| no_container(container, op))
    }

    /// The same, to be changed.
    pub(super) fn container_mut(
        &mut self,
        build: &BuildId,
        container: &ContainerRef,
        op: &'static str,
    ) -> Result<&mut Container> {
        let found = match container {
            ContainerRef::Box(name) => self.boxes.get_mut(&(build.clone(), name.clone())),
            ContainerRef::Container(name) => self.containers.get_mut(name),
        };
        found.ok_or_else(|| no_container(container, op))
    }
}

fn no_container(container: &ContainerRef, op: &'static str) -> Error {
    let name = match container {
        ContainerRef::Box(name) => name.as_str(),
        ContainerRef::Container(name) => name,
    };
    Error::new(ErrorKind::NotFound, op, "there is no such container").with("container", name)
}

/// Whether two names mean the same image, `latest` written or not.
fn same(a: &ImageRef, b: &ImageRef) -> bool {
    a.canonical() == b.canonical()
}
