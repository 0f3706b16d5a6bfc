//! The git adapter against real repositories and real servers.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and say why it does not run"
)]

mod cancel;
mod conformance;
mod formats;
mod host;
mod hostile;
mod http;
mod paths;
mod policy;
mod proxy;
mod repo;
mod secrecy;
mod server;
mod slow;
mod ssh;
mod submodules;
mod url;

use kiln::{
    BuildId, Error, ErrorKind, Result, Revision, SourceSpec, StepId, StepKey, port::Source,
};
use kiln_conformance::step::TestStep;
use kiln_git::{GitConfig, GitSource};
use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

/// What a person's machine allows, without anything of that person.
fn open() -> GitConfig {
    GitConfig { allow_private_network: true, allow_file: true, ..GitConfig::default() }
}

/// A step with a workspace of its own, the third of its build.
fn step() -> (TestStep, tempfile::TempDir) {
    let workspace = tempfile::tempdir().unwrap();
    let key = StepKey { build: BuildId::random(), step: StepId(2), attempt: 1 };
    (TestStep::of(key).workspace(workspace.path()), workspace)
}

fn run(name: &str, test: impl Future<Output = ()>) {
    kiln_conformance::run(name, test);
}

/// Resolves and fetches into `src` of a workspace; gives the files and the log.
async fn fetch(config: GitConfig, spec: &SourceSpec) -> Result<(Files, String)> {
    let (mut step, workspace) = step();
    let source = GitSource::new(config);
    let revision = source.resolve(&step, spec).await?;
    let into = workspace.path().join("src");
    let fetched = source.fetch(&step, spec, &revision, &into).await;
    let left: Vec<_> =
        fs::read_dir(workspace.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    let expected =
        if fetched.is_ok() { vec!["src".into()] } else { Vec::<std::ffi::OsString>::new() };
    assert_eq!(left, expected, "something else remains in the workspace");
    fetched?;
    Ok((files(&into), step.text().await))
}

async fn refusal(config: GitConfig, spec: &SourceSpec) -> Error {
    fetch(config, spec).await.map(|(files, _)| files).unwrap_err()
}

async fn resolve(config: GitConfig, spec: &SourceSpec) -> Result<Revision> {
    GitSource::new(config).resolve(&step().0, spec).await
}

#[track_caller]
fn is(error: &Error, kind: ErrorKind, part: &str) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.to_string().contains(part), "{error} does not say {part}");
}

/// What a directory holds: `path` to `content`, `dir`, `x:content` if executable, `-> target`.
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
                "dir".into()
            } else {
                let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                if meta.mode() & 0o100 != 0 { format!("x:{content}") } else { content }
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
