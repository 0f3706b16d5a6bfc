//! From a revision to files: one repository, and those inside it.

use crate::{
    GitSource,
    auth::Auth,
    checkout::{Gitlink, Writer, Written, show},
    error::{self, FETCH},
    gate::{Budget, Gate},
    modules,
    place::Workbench,
    refs::full_id,
    remote::{Receive, oid},
    url::{GitUrl, Scheme},
    work::{self, Stop},
};
use git2::Repository;
use kiln::{Error, ErrorKind, RelPath, Result, Revision, StepCx};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// How deep submodules may be nested.
const NESTING_MAX: usize = 8;
/// How many submodules a fetch may have.
const MODULES_MAX: usize = 500;

/// What is wanted, as a whole.
pub(crate) struct Wanted {
    pub(crate) url: GitUrl,
    pub(crate) revision: Revision,
    pub(crate) subdir: RelPath,
    pub(crate) submodules: bool,
    pub(crate) auth: Auth,
}

/// One repository to write.
struct Job {
    url: GitUrl,
    revision: Revision,
    subdir: RelPath,
    at: PathBuf,
    auth: Auth,
    /// The repositories it is inside of, as address and commit.
    above: Vec<(String, String)>,
}

/// One fetch in progress.
pub(crate) struct Fetch<'a> {
    source: &'a GitSource,
    cx: &'a StepCx,
    bench: Arc<Workbench>,
    budget: Arc<Budget>,
    /// How many were received.
    repositories: usize,
    /// How many submodules were named.
    modules: usize,
}

impl<'a> Fetch<'a> {
    pub(crate) async fn new(source: &'a GitSource, cx: &'a StepCx, into: &Path) -> Result<Self> {
        let (for_bench, place) = (cx.clone(), into.to_owned());
        let bench =
            work::run(cx, FETCH, None, move |stop| Workbench::new(&for_bench, &place, stop))
                .await?;
        let budget = Budget::new(source.config.bytes_max);
        Ok(Self { source, cx, bench, budget, repositories: 0, modules: 0 })
    }

    /// The directory that it works in.
    pub(crate) fn bench(&self) -> Arc<Workbench> {
        self.bench.clone()
    }

    /// Fetches everything and puts it in place.
    pub(crate) async fn run(mut self, wanted: Wanted, into: &Path) -> Result<()> {
        let keep = self.source.config.keep_git && wanted.subdir.is_root();
        let (url, revision) = (wanted.url.clone(), wanted.revision.clone());
        let mut writer = Writer::new(self.bench.tree(), &self.source.config);
        let mut jobs = vec![Job {
            url: wanted.url,
            revision: wanted.revision,
            subdir: wanted.subdir,
            at: PathBuf::new(),
            auth: wanted.auth,
            above: Vec::new(),
        }];
        while let Some(job) = jobs.pop() {
            let top = job.above.is_empty();
            let name = |e: Error| if top { e } else { e.with("submodule", show(&job.at)) };
            let (back, written) = self.one(&job, writer, keep && top).await.map_err(name)?;
            writer = back;
            if wanted.submodules {
                for link in written.links.iter().rev() {
                    jobs.push(self.submodule(&job, link, written.modules.as_deref())?);
                }
            }
        }
        let writer = work::run(self.cx, FETCH, None, {
            let bench = self.bench.clone();
            move |stop| {
                let _bench = bench;
                writer.finish(stop).map(|()| writer)
            }
        })
        .await?;
        self.cx.log.line(format!("Wrote {} files", writer.files));
        if let n @ 1.. = writer.pointers {
            let message = "Git LFS is not supported: files left as pointers, without their content";
            self.cx.log.line(format!("warning: {message}: {n}"));
        }
        self.place(keep.then_some((url, revision)), into).await
    }

    /// Brings one repository here and writes its files.
    async fn one(
        &mut self,
        job: &Job,
        mut writer: Writer,
        keep: bool,
    ) -> Result<(Writer, Written)> {
        let id = oid(&job.revision.id)?;
        let short = &job.revision.id[..12];
        self.cx.log.line(format!("Fetching {} at {short}", job.url.shown()));
        let repository = match job.url.local_path() {
            Some(path) if !keep => path,
            _ => self.receive(job).await?,
        };
        let (subdir, at) = (job.subdir.clone(), job.at.clone());
        let bench = self.bench.clone();
        let checkout = move |stop: &Stop| {
            let _bench = bench;
            let repository = open(FETCH, &repository)?;
            let written = writer.write(&repository, id, &subdir, &at, stop)?;
            Ok((writer, written))
        };
        let name = |e: Error| e.with("repository", job.url.shown());
        work::run(self.cx, FETCH, None, checkout).await.map_err(name)
    }

    async fn receive(&mut self, job: &Job) -> Result<PathBuf> {
        let directory = self.bench.repository(self.repositories);
        self.repositories += 1;
        let gate = match job.url.scheme() {
            Scheme::Path => None,
            _ => {
                let keys = self.source.keys(FETCH, self.budget.clone());
                Some(Gate::open(keys, &job.url, job.auth.clone()).await?)
            }
        };
        let target =
            gate.as_ref().map_or_else(|| job.url.path().to_owned(), |g| g.url().to_owned());
        let (log, health) = (self.cx.log.clone(), gate.as_ref().map(Gate::health));
        let (revision, name) = (job.revision.clone(), job.url.shown());
        let (bench, into) = (self.bench.clone(), directory.clone());
        let receive = move |stop: &Stop| {
            let _bench = bench;
            let (url, revision, name) = (&*target, &revision, &*name);
            Receive { url, revision, name, health, log: &log, stop }.run(&into)
        };
        work::run(self.cx, FETCH, gate, receive)
            .await
            .map_err(|e| e.with("repository", job.url.shown()))?;
        Ok(directory)
    }

    /// The job of a submodule, checked like an address that a stranger gave.
    fn submodule(&mut self, job: &Job, link: &Gitlink, modules: Option<&str>) -> Result<Job> {
        let error = |kind, message: String| {
            Error::new(kind, FETCH, message).with("submodule", show(&link.at))
        };
        // Before `.gitmodules` is read once more: a tree may name very many.
        self.modules += 1;
        if job.above.len() >= NESTING_MAX || self.modules > MODULES_MAX {
            let message = format!(
                "submodules are nested deeper than {NESTING_MAX} or are more than {MODULES_MAX}"
            );
            return Err(error(ErrorKind::Exhausted, message));
        }
        let modules = modules::parse(modules.unwrap_or_default())
            .map_err(|e| error(ErrorKind::Invalid, e))?;
        let module = modules.iter().find(|m| Path::new(&m.path) == link.path).ok_or_else(|| {
            error(
                ErrorKind::Invalid,
                "`.gitmodules` does not say where a submodule comes from".into(),
            )
        })?;
        let url = job
            .url
            .join(&module.url)
            .map_err(|e| error::url(FETCH, &e).with("submodule", show(&link.at)))?;
        if url.scheme() == Scheme::Path && job.url.scheme() != Scheme::Path {
            let message = "a repository from elsewhere must not name a path of this host";
            return Err(error(ErrorKind::Denied, message.into()));
        }
        self.source.allow(FETCH, &url)?;
        let mut above = job.above.clone();
        above.push((job.url.to_string(), job.revision.id.clone()));
        let id = link.commit.to_string();
        if above.contains(&(url.to_string(), id.clone())) {
            return Err(error(ErrorKind::Invalid, "a submodule contains itself".into()));
        }
        let auth = job.auth.for_other(&job.url, &url);
        let revision = Revision { id, reference: None };
        Ok(Job { url, revision, subdir: RelPath::root(), at: link.at.clone(), auth, above })
    }

    async fn place(&self, keep: Option<(GitUrl, Revision)>, into: &Path) -> Result<()> {
        let (bench, cx, into) = (self.bench.clone(), self.cx.clone(), into.to_owned());
        let place = move |stop: &Stop| {
            if let Some((url, revision)) = keep {
                keep_git(&bench, &url, &revision)?;
            }
            stop.check(FETCH)?;
            bench.place(&cx, &into)
        };
        work::run(self.cx, FETCH, None, place).await
    }
}

/// Opens a repository without searching above it.
pub(crate) fn open(op: &'static str, path: &Path) -> Result<Repository> {
    let ceiling: [&Path; 0] = [];
    Repository::open_ext(path, git2::RepositoryOpenFlags::NO_SEARCH, ceiling).map_err(|e| {
        let error = if is_sha256(path) {
            error::sha256(op)
        } else {
            error::git(op, "opening the repository", &e)
        };
        error.with("path", path.display())
    })
}

/// Whether a repository says that its ids are not SHA-1.
fn is_sha256(path: &Path) -> bool {
    let format = |file: &Path| {
        let config = file.exists().then(|| git2::Config::open(file).ok()).flatten();
        config.and_then(|c| c.get_string("extensions.objectformat").ok())
    };
    let found = [".git/config", "config"].iter().find_map(|f| format(&path.join(f)));
    found.is_some_and(|format| format != "sha1")
}

/// Makes the received repository the `.git` of what was written.
fn keep_git(bench: &Workbench, url: &GitUrl, revision: &Revision) -> Result<()> {
    let failed = |e| error::git(FETCH, "keeping .git", &e);
    let place = bench.keep_repository().map_err(|e| error::io(FETCH, "keeping .git", e))?;
    let id = oid(&full_id(&revision.id).unwrap_or_default())?;
    let repository = open(FETCH, &place)?;
    repository.config().and_then(|mut c| c.set_bool("core.bare", false)).map_err(failed)?;
    drop(repository);
    let repository = open(FETCH, &bench.tree_path())?;
    let commit =
        repository.find_object(id, None).and_then(|o| o.peel_to_commit()).map_err(failed)?;
    repository.set_head_detached(commit.id()).map_err(failed)?;
    let tree = commit.tree().map_err(failed)?;
    let mut index = repository.index().map_err(failed)?;
    index.read_tree(&tree).and_then(|()| index.write()).map_err(failed)?;
    // SSH needs the user; in other addresses it may be a token.
    let origin = if url.scheme() == Scheme::Ssh { url.to_string() } else { url.shown() };
    repository.remote("origin", &origin).map_err(failed)?;
    Ok(())
}
