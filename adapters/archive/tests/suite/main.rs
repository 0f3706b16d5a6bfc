//! The archive adapter against real archives and a real HTTP server.
#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

mod conformance;
mod content;
mod hostile;
mod policy;
mod server;

use kiln::{
    BuildId, Error, RelPath, Result, SourceSpec,
    memory::MemoryArtifacts,
    port::{ArtifactKey, ArtifactStore, Source},
};
use kiln_archive::{ArchiveConfig, ArchiveSource};
use kiln_conformance::step::TestStep;
use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path, sync::Arc};

/// What this machine allows.
fn open() -> ArchiveConfig {
    let mut config = ArchiveConfig::default();
    config.allow_private_network = true;
    config
}

/// Artifacts and a source over them.
fn source(config: ArchiveConfig) -> (Arc<MemoryArtifacts>, ArchiveSource) {
    let artifacts = Arc::new(MemoryArtifacts::default());
    (artifacts.clone(), ArchiveSource::new(artifacts, config))
}

const UPLOAD: &str = "upload-0123456789ab-19a-0123456789abcdef";

/// Keeps an archive as an upload.
async fn upload(artifacts: &dyn ArtifactStore, name: &str, archive: Vec<u8>) -> SourceSpec {
    let key =
        ArtifactKey { build: BuildId::new(UPLOAD).unwrap(), name: RelPath::new(name).unwrap() };
    // In pieces, as it comes from a store.
    let pieces: Vec<_> = archive.chunks(1000).map(|p| Ok(p.to_vec().into())).collect();
    artifacts.put(&key, Box::pin(futures::stream::iter(pieces))).await.unwrap();
    SourceSpec::new(format!("upload:{UPLOAD}"))
}

/// Resolves and fetches an upload into `src` of a workspace; gives the files.
async fn unpack_by(config: ArchiveConfig, archive: Vec<u8>, subdir: &str) -> Result<Files> {
    let (artifacts, source) = source(config);
    let mut spec = upload(&*artifacts, "context.tar", archive).await;
    spec.subdir = RelPath::new(subdir).unwrap_or_default();
    let workspace = tempfile::tempdir().unwrap();
    let step = TestStep::new().workspace(workspace.path());
    let revision = source.resolve(&step, &spec).await?;
    let into = workspace.path().join("src");
    let fetched = source.fetch(&step, &spec, &revision, &into).await;
    let left: Vec<_> =
        fs::read_dir(workspace.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    let expected =
        if fetched.is_ok() { vec!["src".into()] } else { Vec::<std::ffi::OsString>::new() };
    assert_eq!(left, expected, "something else remains in the workspace");
    fetched?;
    Ok(files(&into))
}

async fn unpack(archive: Vec<u8>) -> Result<Files> {
    unpack_by(open(), archive, "").await
}

async fn refusal(archive: Vec<u8>) -> Error {
    unpack(archive).await.unwrap_err()
}

/// What a directory holds: `path` to `dir`, `MODE:content` or `-> target`.
type Files = BTreeMap<String, String>;

fn files(root: &Path) -> Files {
    let mut found = Files::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let what = if meta.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if meta.is_dir() {
                open.push(path.clone());
                format!("dir {:o}", meta.mode() & 0o7777)
            } else {
                let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                format!("{:o}:{content}", meta.mode() & 0o7777)
            };
            found.insert(name, what);
        }
    }
    found
}

#[track_caller]
fn holds(files: &Files, expected: &[(&str, &str)]) {
    let expected: Files = expected.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    assert_eq!(files, &expected);
}

/// An archive that is made entry by entry.
struct Pack(tar::Builder<Vec<u8>>);

impl Pack {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// Adds an entry, under a name that no tool would write.
    fn raw(mut self, name: &str, kind: tar::EntryType, link: &str, mode: u32, text: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000_000);
        header.set_size(text.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, text.as_bytes()).unwrap();
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        self.raw(name, tar::EntryType::Regular, "", 0o644, text)
    }

    fn dir(self, name: &str, mode: u32) -> Self {
        self.raw(name, tar::EntryType::Directory, "", mode, "")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.raw(name, tar::EntryType::Symlink, target, 0o777, "")
    }

    fn hard(self, name: &str, target: &str) -> Self {
        self.raw(name, tar::EntryType::Link, target, 0o644, "")
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn run(name: &str, test: impl Future<Output = ()>) {
    kiln_conformance::run(name, test);
}
