//! What every [`Workspaces`] must do.
//!
//! Files get into a workspace by steps, not by the port, so the suite has to be told how: an
//! adapter with real directories is wrapped in [`OnDisk`], any other implements [`PutFile`].

use crate::{Fresh, helpers::expect_kind, poll_times, sample::build};
use async_trait::async_trait;
use futures::TryStreamExt;
use kiln::{BuildId, ErrorKind, RelPath, Result, memory::MemoryWorkspaces, port::Workspaces};
use std::{collections::BTreeSet, path::Path, path::PathBuf, sync::Arc};

/// Makes a test of every promise of workspaces. The expression makes a `Fresh<W>` for some
/// `W: Workspaces + PutFile`.
#[macro_export]
macro_rules! workspaces_suite {
    ($fresh:expr) => {
        $crate::tests_of! { workspaces, $fresh,
            a_build_has_one_directory_of_its_own
            builds_are_listed_while_they_have_a_directory
            a_file_is_read_as_it_is
            a_missing_file_is_not_found
            no_symbolic_link_leads_out
            removing_is_thorough_and_repeatable
            a_cancelled_removal_can_be_repeated
        }
    };
}

/// How the files of a test get into a workspace that was prepared.
#[async_trait]
pub trait PutFile {
    /// Puts a file there.
    async fn put(&self, build: &BuildId, path: &RelPath, bytes: &[u8]);

    /// Makes a symbolic link; false if this adapter knows none.
    async fn link(&self, build: &BuildId, path: &RelPath, to: &Path) -> bool;
}

#[async_trait]
impl PutFile for MemoryWorkspaces {
    async fn put(&self, build: &BuildId, path: &RelPath, bytes: &[u8]) {
        MemoryWorkspaces::put(self, build, path.clone(), bytes.to_vec());
    }

    async fn link(&self, _: &BuildId, _: &RelPath, _: &Path) -> bool {
        false
    }
}

/// Workspaces that are real directories of this machine.
#[derive(Debug)]
pub struct OnDisk<W: ?Sized>(pub Arc<W>);

#[async_trait]
impl<W: Workspaces + ?Sized> Workspaces for OnDisk<W> {
    async fn prepare(&self, build: &BuildId) -> Result<PathBuf> {
        self.0.prepare(build).await
    }

    async fn read(&self, build: &BuildId, path: &RelPath) -> Result<kiln::port::ByteStream> {
        self.0.read(build, path).await
    }

    async fn remove(&self, build: &BuildId) -> Result<()> {
        self.0.remove(build).await
    }

    async fn list(&self) -> Result<Vec<BuildId>> {
        self.0.list().await
    }
}

#[async_trait]
impl<W: Workspaces + ?Sized> PutFile for OnDisk<W> {
    async fn put(&self, build: &BuildId, path: &RelPath, bytes: &[u8]) {
        let path = path.below(&self.prepare(build).await.expect("a directory"));
        std::fs::create_dir_all(path.parent().expect("below a directory")).expect("a directory");
        std::fs::write(path, bytes).expect("a file");
    }

    async fn link(&self, build: &BuildId, path: &RelPath, to: &Path) -> bool {
        let path = path.below(&self.prepare(build).await.expect("a directory"));
        link(&path, to)
    }
}

#[cfg(unix)]
fn link(path: &Path, to: &Path) -> bool {
    std::os::unix::fs::symlink(to, path).expect("a symbolic link");
    true
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> bool {
    false
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a path below the root")
}

async fn read(workspaces: &impl Workspaces, of: &str, file: &str) -> Result<Vec<u8>> {
    let pieces: Vec<_> = workspaces.read(&build(of), &path(file)).await?.try_collect().await?;
    Ok(pieces.concat())
}

async fn listed(workspaces: &impl Workspaces) -> BTreeSet<BuildId> {
    workspaces.list().await.expect("a list").into_iter().collect()
}

/// A build has the same directory each time, and no other build has it or is below it.
pub async fn a_build_has_one_directory_of_its_own<W: Workspaces + PutFile>(workspaces: Fresh<W>) {
    let mut all = Vec::new();
    for name in ["a", "A", "a.b", "ab", "a-b"] {
        let directory = workspaces.prepare(&build(name)).await.unwrap();
        assert_eq!(workspaces.prepare(&build(name)).await.unwrap(), directory);
        assert!(directory.is_absolute(), "{}", directory.display());
        all.push(directory);
    }
    for (i, one) in all.iter().enumerate() {
        assert!(!all.iter().enumerate().any(|(j, other)| i != j && one.starts_with(other)));
    }
    // Preparing again keeps what is there.
    workspaces.put(&build("a"), &path("x"), b"kept").await;
    workspaces.prepare(&build("a")).await.unwrap();
    assert_eq!(read(&*workspaces, "a", "x").await.unwrap(), b"kept");
}

/// The list holds just the builds that have a directory.
pub async fn builds_are_listed_while_they_have_a_directory<W: Workspaces + PutFile>(
    workspaces: Fresh<W>,
) {
    assert_eq!(listed(&*workspaces).await, BTreeSet::new());
    for name in ["a", "b", "c"] {
        workspaces.prepare(&build(name)).await.unwrap();
    }
    workspaces.remove(&build("b")).await.unwrap();
    assert_eq!(listed(&*workspaces).await, BTreeSet::from(["a", "c"].map(build)));
}

/// A file is read byte for byte, in a directory too, empty or large.
pub async fn a_file_is_read_as_it_is<W: Workspaces + PutFile>(workspaces: Fresh<W>) {
    workspaces.prepare(&build("b")).await.unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    for (name, bytes) in [("x", &b"\xff\x00"[..]), ("dir/sub/empty", b""), ("large", &large)] {
        workspaces.put(&build("b"), &path(name), bytes).await;
        assert!(read(&*workspaces, "b", name).await.unwrap() == bytes, "{name}");
    }
}

/// A file that is not there is `NotFound`, and so is every file of a build without a directory.
pub async fn a_missing_file_is_not_found<W: Workspaces + PutFile>(workspaces: Fresh<W>) {
    let missing = |result| expect_kind(result, ErrorKind::NotFound, "a missing file");
    missing(read(&*workspaces, "b", "x").await);
    workspaces.prepare(&build("b")).await.unwrap();
    workspaces.put(&build("b"), &path("dir/x"), b"x").await;
    for name in ["x", "dir/y", "dir/x/y", "DIR/x"] {
        missing(read(&*workspaces, "b", name).await);
    }
    missing(read(&*workspaces, "other", "dir/x").await);
    assert!(read(&*workspaces, "b", "dir").await.is_err(), "a directory is no file");
}

/// A path that leads out by a symbolic link is `Denied`, however the link is hidden; a removal
/// does not follow one.
pub async fn no_symbolic_link_leads_out<W: Workspaces + PutFile>(workspaces: Fresh<W>) {
    let b = build("b");
    let outside = std::env::temp_dir().join(format!("kiln-outside-{}", BuildId::random()));
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    workspaces.prepare(&b).await.unwrap();
    workspaces.put(&b, &path("dir/x"), b"x").await;
    let mut links = vec![
        ("file", outside.join("secret")),
        ("directory", outside.clone()),
        ("dir/up", PathBuf::from("../..")),
        ("chain", PathBuf::from("file")),
    ];
    links.push(("root", PathBuf::from("/")));
    for (name, to) in &links {
        if !workspaces.link(&b, &path(name), to).await {
            break;
        }
        let hidden = match *name {
            "directory" => "directory/secret".to_owned(),
            "dir/up" => format!("dir/up/{}/dir/x", "b"),
            "root" => format!("root{}/secret", outside.display()),
            file => file.to_owned(),
        };
        match read(&*workspaces, "b", &hidden).await {
            Ok(bytes) => panic!("{hidden} leads out: {} bytes", bytes.len()),
            Err(e) if *name == "dir/up" => assert_ne!(e.kind(), ErrorKind::Unexpected, "{e:?}"),
            Err(e) => assert_eq!(e.kind(), ErrorKind::Denied, "{hidden}: {e:?}"),
        }
    }
    workspaces.remove(&b).await.unwrap();
    assert!(outside.join("secret").exists(), "a removal followed a symbolic link");
    std::fs::remove_dir_all(outside).unwrap();
}

/// A removed directory is gone with its files, another build's is not, and removing one that is
/// not there succeeds.
pub async fn removing_is_thorough_and_repeatable<W: Workspaces + PutFile>(workspaces: Fresh<W>) {
    for name in ["b", "other"] {
        workspaces.prepare(&build(name)).await.unwrap();
        workspaces.put(&build(name), &path("dir/x"), b"x").await;
    }
    for _ in 0..2 {
        workspaces.remove(&build("b")).await.unwrap();
        let gone = read(&*workspaces, "b", "dir/x").await;
        expect_kind(gone, ErrorKind::NotFound, "a file of a removed workspace");
        assert_eq!(listed(&*workspaces).await, BTreeSet::from([build("other")]));
    }
    workspaces.prepare(&build("b")).await.unwrap();
    let gone = read(&*workspaces, "b", "dir/x").await;
    expect_kind(gone, ErrorKind::NotFound, "a file of an earlier workspace");
    assert_eq!(read(&*workspaces, "other", "dir/x").await.unwrap(), b"x");
}

/// A removal that was dropped half-way is finished by the next one.
pub async fn a_cancelled_removal_can_be_repeated<W: Workspaces + PutFile>(workspaces: Fresh<W>) {
    for polls in 0..6 {
        workspaces.prepare(&build("b")).await.unwrap();
        for i in 0..50 {
            workspaces.put(&build("b"), &path(&format!("d{}/f{i}", i % 5)), b"x").await;
        }
        poll_times(workspaces.remove(&build("b")), polls).await;
        workspaces.remove(&build("b")).await.unwrap();
        assert_eq!(listed(&*workspaces).await, BTreeSet::new());
    }
}
