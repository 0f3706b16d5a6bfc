//! The name that an image has on the host while it is pushed.
//!
//! An engine pushes what has the target's name, so an image is lent that name for one push. Before
//! that, it is written down in the engine itself, as names in a repository `kiln-push/HASH`, where
//! HASH stands for the name that is lent: `p-BUILD` is the image that is pushed, `w-BUILD` the one
//! that had the name before. Whoever finds them knows what to put back: a later push, a push by
//! another process, or a sweep after a crash. Of several pushes to one name, the last puts it back.

use super::{NameLocks, with_tag};
use crate::client::DockerClient;
use bollard::{
    errors::Error as Vendor,
    query_parameters::{ListImagesOptions, RemoveImageOptions, TagImageOptions},
};
use kiln::{BuildId, Digest, Error, ErrorKind, ImageRef, Result, Status};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

const OP: &str = "Registry::push";
/// The repositories of the notes.
const NOTES: &str = "kiln-push";
/// How often a name that others change is looked at again.
const LOOKS_MAX: u32 = 50;

/// What a note says of its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// It is pushed, and has the name for that.
    Pushed,
    /// The name was its own before.
    Was,
}

/// One note.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Note {
    repository: String,
    role: Role,
    build: String,
    image: String,
}

/// A name that an image has for one push.
#[derive(Debug)]
pub(super) struct Lent<'c> {
    client: &'c DockerClient,
    build: &'c BuildId,
    name: String,
    image: String,
    /// Whose the name was before.
    was: Option<String>,
    /// Other images that pushes had given the name.
    borrowers: Vec<String>,
    /// Whether it is to be put back.
    noted: bool,
}

/// Gives an image a name for a push by a build. The caller has the lock of the name.
pub(super) async fn lend<'c>(
    client: &'c DockerClient,
    build: &'c BuildId,
    image: String,
    to: &ImageRef,
) -> Result<Lent<'c>> {
    let name = with_tag(to);
    let mut lent =
        Lent { client, build, name, image, was: None, borrowers: Vec::new(), noted: false };
    let (now, notes) = lent.look().await?;
    if notes.is_empty() {
        if now.as_ref() == Some(&lent.image) {
            return Ok(lent);
        }
        // An engine deletes an image with its last name, so one without another name keeps this.
        if now.is_none() && !lent.has_other_name(&lent.image).await? {
            tag(client, &lent.image, &lent.name).await?;
            return Ok(lent);
        }
    }
    lent.noted = true;
    lent.borrowers = pushed(&notes);
    lent.was = match now {
        // Somebody's push lent it out, and noted whose it was before.
        Some(now) if lent.borrowers.contains(&now) => {
            notes.into_iter().find(|n| n.role == Role::Was).map(|n| n.image)
        }
        now => now,
    };
    if let Some(was) = &lent.was {
        tag(client, was, &lent.note(Role::Was)).await?;
    }
    // Never before what else is known: a note of a push says that its build knows all it needs.
    tag(client, &lent.image, &lent.note(Role::Pushed)).await?;
    tag(client, &lent.image, &lent.name).await?;
    Ok(lent)
}

/// Puts back what crashed pushes of a build lent out.
pub(super) async fn sweep(client: &DockerClient, locks: &NameLocks, build: &BuildId) -> Result<()> {
    let notes = notes_in(client, &format!("{NOTES}/*")).await?;
    let ours = |n: &&Note| n.build == build.as_str();
    for note in notes.iter().filter(ours).filter(|n| n.role == Role::Pushed) {
        let names = names_of(client, &note.image).await?;
        let name = names.into_iter().find(|name| notes_of(name).as_ref() == Some(&note.repository));
        let was = notes.iter().find(|n| {
            n.repository == note.repository && n.build == note.build && n.role == Role::Was
        });
        let lent = Lent {
            client,
            build,
            // Without the name there is nothing to put back, and only notes to remove.
            name: name.clone().unwrap_or_else(|| format!("{}:none", note.repository)),
            image: note.image.clone(),
            was: was.map(|n| n.image.clone()),
            borrowers: Vec::new(),
            noted: true,
        };
        match name {
            Some(name) => {
                let lock = locks.of(&name);
                let _guard = lock.lock().await;
                lent.give_back().await?;
            }
            None => lent.forget_in(&note.repository).await?,
        }
    }
    for note in notes.iter().filter(ours) {
        remove_note(client, &format!("{}:{}", note.repository, note.tag()), None).await?;
    }
    Ok(())
}

impl Lent<'_> {
    /// That a digest is that of the image: an engine notes with an image what it was pushed as.
    /// `Conflict` if somebody gave the name to another image, and that one was pushed.
    pub(super) async fn check(&self, digest: &Digest) -> Result<()> {
        let found = self.client.docker().inspect_image(&self.image).await;
        let image = found.map_err(|e| self.client.error(OP, e))?;
        let pushed_as = image.repo_digests.unwrap_or_default();
        let is_its = |d: &String| d.rsplit_once('@').is_some_and(|(_, d)| d == digest.as_str());
        // An engine that keeps no such notes can only be asked for the name.
        let unknown = pushed_as.is_empty();
        if pushed_as.iter().any(is_its)
            || self.image == digest.as_str()
            || (unknown && self.holder().await?.as_ref() == Some(&self.image))
        {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Conflict,
            OP,
            "the name was given to another image while this one was pushed",
        )
        .with("name", &self.name)
        .status(Status::Temporary)
        .hint("Push again; do not push different images to one name at one time."))
    }

    /// Puts the name back to where it was, unless another push needs it or it went elsewhere.
    pub(super) async fn give_back(&self) -> Result<()> {
        if !self.noted {
            return Ok(());
        }
        let mut borrowers = self.borrowers.clone();
        borrowers.push(self.image.clone());
        let others = self.others().await?;
        borrowers.extend(pushed(&others));
        let Some(other) = others.first() else {
            self.put_back(&borrowers).await?;
            // Somebody may have come meanwhile, and would miss what we took.
            if let Some(other) = self.others().await?.first() {
                tag(self.client, &other.image, &self.name).await?;
            }
            return self.forget().await;
        };
        // It leaves the name to us as long as it sees our notes, so look again without them. What
        // has the name must have a note, or it would be taken for the one whose the name is.
        if self.holder().await?.as_ref() == Some(&self.image) {
            tag(self.client, &other.image, &self.name).await?;
        }
        self.forget().await?;
        if self.others().await?.is_empty() {
            self.put_back(&borrowers).await?;
        }
        Ok(())
    }

    async fn put_back(&self, borrowers: &[String]) -> Result<()> {
        let Some(now) = self.holder().await?.filter(|now| borrowers.contains(now)) else {
            return Ok(());
        };
        match &self.was {
            Some(was) if *was == now => Ok(()),
            Some(was) => match tag(self.client, was, &self.name).await {
                // It was removed meanwhile; then nobody misses its name.
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
                done => done,
            },
            None if self.has_other_name(&now).await? => untag(self.client, &self.name).await,
            None => Ok(()),
        }
    }

    async fn forget(&self) -> Result<()> {
        match notes_of(&self.name) {
            Some(repository) => self.forget_in(&repository).await,
            None => Ok(()),
        }
    }

    /// Removes our notes; first the one that says that there is something to do.
    async fn forget_in(&self, repository: &str) -> Result<()> {
        for role in [Role::Pushed, Role::Was] {
            let note = format!("{repository}:{}", tag_of(role, self.build.as_str()));
            remove_note(self.client, &note, self.was.as_deref()).await?;
        }
        Ok(())
    }

    /// The image that has the name now.
    async fn holder(&self) -> Result<Option<String>> {
        match self.client.docker().inspect_image(&self.name).await {
            Ok(image) => Ok(image.id),
            Err(Vendor::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(e) => Err(self.client.error(OP, e)),
        }
    }

    /// The image that has the name, and the notes, as they were at one time.
    async fn look(&self) -> Result<(Option<String>, Vec<Note>)> {
        let mut seen = (self.holder().await?, self.notes().await?);
        for _ in 0..LOOKS_MAX {
            let again = (self.holder().await?, self.notes().await?);
            if again == seen {
                return Ok(seen);
            }
            seen = again;
        }
        Err(Error::new(ErrorKind::Conflict, OP, "others keep changing what the name means")
            .with("name", &self.name)
            .status(Status::Temporary))
    }

    async fn has_other_name(&self, image: &str) -> Result<bool> {
        let names = names_of(self.client, image).await?;
        Ok(names.iter().any(|n| *n != self.name && !is_note(n)))
    }

    fn note(&self, role: Role) -> String {
        let repository = notes_of(&self.name).unwrap_or_else(|| format!("{NOTES}/none"));
        format!("{repository}:{}", tag_of(role, self.build.as_str()))
    }

    async fn notes(&self) -> Result<Vec<Note>> {
        match notes_of(&self.name) {
            Some(repository) => notes_in(self.client, &repository).await,
            None => Ok(Vec::new()),
        }
    }

    async fn others(&self) -> Result<Vec<Note>> {
        let notes = self.notes().await?;
        let other = |n: &Note| n.role == Role::Pushed && n.build != self.build.as_str();
        Ok(notes.into_iter().filter(other).collect())
    }
}

impl Note {
    fn tag(&self) -> String {
        tag_of(self.role, &self.build)
    }

    fn parse(name: &str, image: &str) -> Option<Self> {
        let (repository, tag) = name.rsplit_once(':').filter(|_| is_note(name))?;
        let (role, build) = match tag.split_once('-')? {
            ("p", build) => (Role::Pushed, build),
            ("w", build) => (Role::Was, build),
            _ => return None,
        };
        let (repository, build, image) = (repository.into(), build.into(), image.into());
        Some(Self { repository, role, build, image })
    }
}

fn tag_of(role: Role, build: &str) -> String {
    match role {
        Role::Pushed => format!("p-{build}"),
        Role::Was => format!("w-{build}"),
    }
}

fn pushed(notes: &[Note]) -> Vec<String> {
    notes.iter().filter(|n| n.role == Role::Pushed).map(|n| n.image.clone()).collect()
}

fn is_note(name: &str) -> bool {
    name.strip_prefix(NOTES).is_some_and(|rest| rest.starts_with('/'))
}

/// The repository of the notes on a name.
fn notes_of(name: &str) -> Option<String> {
    let name = ImageRef::parse(name).ok().filter(|_| !is_note(name))?;
    let hash = Digest::sha256(Sha256::digest(name.canonical()).into());
    Some(format!("{NOTES}/{}", &hash.encoded()[..32]))
}

async fn notes_in(client: &DockerClient, repositories: &str) -> Result<Vec<Note>> {
    let filters = HashMap::from([("reference".to_owned(), vec![repositories.to_owned()])]);
    let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
    let found = client.docker().list_images(Some(options)).await;
    let found = found.map_err(|e| client.error(OP, e))?;
    let notes = found
        .iter()
        .flat_map(|image| image.repo_tags.iter().filter_map(|name| Note::parse(name, &image.id)));
    let asked = |n: &Note| repositories.ends_with('*') || n.repository == repositories;
    let mut notes: Vec<_> = notes.filter(asked).collect();
    notes.sort();
    Ok(notes)
}

/// The names of an image; none if it is not there.
async fn names_of(client: &DockerClient, image: &str) -> Result<Vec<String>> {
    match client.docker().inspect_image(image).await {
        Ok(image) => Ok(image.repo_tags.unwrap_or_default()),
        Err(Vendor::DockerResponseServerError { status_code: 404, .. }) => Ok(Vec::new()),
        Err(e) => Err(client.error(OP, e)),
    }
}

async fn tag(client: &DockerClient, image: &str, name: &str) -> Result<()> {
    let (repo, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
    let options = TagImageOptions { repo: Some(repo.into()), tag: Some(tag.into()) };
    let done = client.docker().tag_image(image, Some(options)).await;
    done.map_err(|e| client.error(OP, e).with("name", name))
}

/// Takes a name away from an image that has another.
async fn untag(client: &DockerClient, name: &str) -> Result<()> {
    match client.docker().remove_image(name, None::<RemoveImageOptions>, None).await {
        Ok(_) | Err(Vendor::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(e) => Err(client.error(OP, e).with("name", name)),
    }
}

/// Removes a note, but never the image with it: where the note is the image's only name, it goes
/// to another image first, or stays where there is none.
async fn remove_note(client: &DockerClient, note: &str, other: Option<&str>) -> Result<()> {
    let names = names_of(client, note).await?;
    match (names.len(), other) {
        (0, _) => Ok(()),
        (1, None) => Ok(()),
        (1, Some(other)) => {
            tag(client, other, note).await?;
            untag(client, note).await
        }
        _ => untag(client, note).await,
    }
}
