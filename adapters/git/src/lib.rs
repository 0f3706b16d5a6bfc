//! Fetches sources from git repositories: over https, http and ssh, and from paths.
//!
//! The protocol and the object database are libgit2's. Connections are not: libgit2 speaks only to
//! a port of this host, and what listens there judges addresses, follows redirects, shows
//! credentials, counts bytes and ends silences. Nor is the checkout. `docs/git.md` says why, and
//! what is refused.
//!
//! Needs a Tokio runtime with time and I/O.

mod address;
mod auth;
mod checkout;
mod config;
mod dir;
mod error;
mod fetch;
mod gate;
mod helper;
mod key;
mod modules;
mod names;
mod netrc;
mod place;
mod proxy;
mod refs;
mod remote;
mod text;
pub mod url;
mod work;

pub use config::GitConfig;
pub use proxy::Proxies;

use crate::{
    auth::Auth,
    error::{FETCH, RESOLVE},
    fetch::{Fetch, Wanted},
    gate::{Budget, Gate, GateKeys, Trust},
    place::Workbench,
    url::{GitUrl, Scheme, UrlError},
    work::Stop,
};
use async_trait::async_trait;
use kiln::{Error, ErrorKind, RelPath, Result, Revision, SourceSpec, StepCx, port::Source};
use std::{path::Path, sync::Arc};

/// A [`Source`] of git repositories.
#[derive(Clone, Debug)]
pub struct GitSource {
    config: Arc<GitConfig>,
    trust: Arc<Trust>,
}

impl GitSource {
    /// A source that may do what a configuration says.
    pub fn new(config: GitConfig) -> Self {
        Self { config: Arc::new(config), trust: Arc::default() }
    }

    fn keys(&self, op: &'static str, budget: Arc<Budget>) -> GateKeys {
        GateKeys { op, config: self.config.clone(), trust: self.trust.clone(), budget }
    }

    /// Refuses what can be refused before anything is resolved.
    fn allow(&self, op: &'static str, url: &GitUrl) -> Result<()> {
        let Some(path) = url.local_path() else { return Ok(()) };
        if !self.config.allow_file {
            let message = "paths and file URLs are not allowed on this node";
            return Err(error::forbidden(op, message)
                .hint("Whoever runs the node can allow them in its git configuration."));
        }
        if !path.exists() {
            return Err(Error::new(ErrorKind::NotFound, op, "there is no such directory")
                .with("path", path.display()));
        }
        if is_bundle(&path) {
            return Err(error::bundle(op).with("path", path.display()));
        }
        Ok(())
    }

    async fn heads(&self, cx: &StepCx, spec: &SourceSpec, url: &GitUrl) -> Result<Vec<refs::Head>> {
        if let Some(path) = url.local_path() {
            let list = move |_: &Stop| {
                fetch::open(RESOLVE, &path)?;
                remote::list(&path.to_string_lossy(), RESOLVE)
            };
            return work::run(cx, RESOLVE, None, list).await;
        }
        let auth = Auth::of(cx, spec, RESOLVE, self.config.use_host_credentials).await?;
        let keys = self.keys(RESOLVE, Budget::new(self.config.bytes_max));
        let gate = Gate::open(keys, url, auth).await?;
        let target = gate.url().to_owned();
        work::run(cx, RESOLVE, Some(gate), move |_| remote::list(&target, RESOLVE)).await
    }
}

/// Whether a path is a file of `git bundle`.
fn is_bundle(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 16];
    let read = path.is_file().then(|| std::fs::File::open(path)?.read_exact(&mut start));
    matches!(read, Some(Ok(()))) && start.starts_with(b"# v") && start.ends_with(b"git bundle\n")
}

/// The parts of a spec, from its address and its own fields.
struct Asked {
    url: GitUrl,
    reference: Option<String>,
    subdir: RelPath,
}

fn read(op: &'static str, spec: &SourceSpec) -> Result<Asked> {
    let full = url::parse(&spec.url).map_err(|e| error::url(op, &e))?;
    let twice = |what: &str| {
        let message = format!("the {what} is given twice, in the address and beside it");
        Err(Error::new(ErrorKind::Invalid, op, message))
    };
    let reference = match (full.reference(), &spec.reference) {
        (Some(a), Some(b)) if a != b => return twice("reference"),
        (a, b) => b.clone().or_else(|| a.map(ToOwned::to_owned)),
    };
    let subdir = match (full.subdir(), &spec.subdir) {
        (a, b) if a.is_root() || a == b => b.clone(),
        (a, b) if b.is_root() => a.clone(),
        _ => return twice("directory"),
    };
    Ok(Asked { url: full.repository(), reference, subdir })
}

#[async_trait]
impl Source for GitSource {
    fn accepts(&self, spec: &SourceSpec) -> bool {
        // What is an address of git but a wrong one is accepted, to be refused with a reason.
        match url::parse(&spec.url) {
            Err(UrlError::Scheme(scheme)) => scheme == "git",
            Err(UrlError::Empty | UrlError::Unknown) => false,
            _ => true,
        }
    }

    async fn resolve(&self, cx: &StepCx, spec: &SourceSpec) -> Result<Revision> {
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(RESOLVE));
        }
        let asked = read(RESOLVE, spec)?;
        self.allow(RESOLVE, &asked.url)?;
        if let Some(id) = asked.reference.as_deref().and_then(refs::full_id) {
            return Ok(Revision { id, reference: None });
        }
        let name = |e: Error| e.with("repository", asked.url.shown());
        let heads = self.heads(cx, spec, &asked.url).await.map_err(name)?;
        let found = refs::select(&heads, asked.reference.as_deref());
        match (found, asked.url.local_path(), &asked.reference) {
            (Err(e), Some(path), Some(reference)) if e.kind() == ErrorKind::NotFound => {
                refs::abbreviated_in(&path, reference).ok_or(e)
            }
            (found, ..) => found,
        }
        .map_err(name)
    }

    async fn fetch(
        &self,
        cx: &StepCx,
        spec: &SourceSpec,
        revision: &Revision,
        into: &Path,
    ) -> Result<()> {
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(FETCH));
        }
        let Asked { url, subdir, .. } = read(FETCH, spec)?;
        self.allow(FETCH, &url)?;
        let auth = match url.scheme() {
            Scheme::Path => Auth::None,
            _ => Auth::of(cx, spec, FETCH, self.config.use_host_credentials).await?,
        };
        let (revision, submodules) = (revision.clone(), spec.submodules);
        let wanted = Wanted { url, revision, subdir, submodules, auth };
        let fetch = Fetch::new(self, cx, into).await?;
        let bench = fetch.bench();
        let fetched = fetch.run(wanted, into).await;
        Workbench::clear(bench, cx).await;
        fetched
    }
}
