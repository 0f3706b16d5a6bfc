//! What libgit2 does with a repository elsewhere: list it, and receive from it.

use crate::{
    error::{self, FETCH},
    gate::Health,
    refs::Head,
    text::Lines,
    work::Stop,
};
use git2::{
    AutotagOption, Config, Direction, FetchOptions, Oid, RemoteCallbacks, RemoteRedirect,
    Repository,
};
use kiln::{
    Error, ErrorKind, Result, Revision, StepLog,
    port::{Progress, ProgressUnit},
};
use std::path::Path;

/// Where libgit2 keeps what was received.
const FETCHED: &str = "refs/kiln/fetched";

/// The references of a repository, without fetching anything.
pub(crate) fn list(url: &str, op: &'static str) -> Result<Vec<Head>> {
    let failed = |e| error::git(op, "listing the repository", &e);
    let mut remote = git2::Remote::create_detached(url).map_err(failed)?;
    let connection = remote.connect_auth(Direction::Fetch, None, None).map_err(failed)?;
    Ok(heads(connection.list().map_err(failed)?))
}

fn heads(list: &[git2::RemoteHead<'_>]) -> Vec<Head> {
    let head = |h: &git2::RemoteHead<'_>| Head {
        name: h.name().to_owned(),
        id: h.oid(),
        target: h.symref_target().map(ToOwned::to_owned),
    };
    list.iter().map(head).collect()
}

/// One way to ask for a commit.
struct Attempt {
    refspecs: Vec<String>,
    depth: i32,
}

/// Receives a commit into a new bare repository: alone where the server allows it, else with the
/// history it takes.
pub(crate) struct Receive<'a> {
    pub(crate) url: &'a str,
    pub(crate) revision: &'a Revision,
    /// What to call the repository in the log.
    pub(crate) name: &'a str,
    pub(crate) health: Option<Health>,
    pub(crate) log: &'a StepLog,
    pub(crate) stop: &'a Stop,
}

impl Receive<'_> {
    pub(crate) fn run(&self, directory: &Path) -> Result<()> {
        let failed = |e| error::git(FETCH, "making a repository", &e);
        let mut options = git2::RepositoryInitOptions::new();
        options.bare(true).external_template(false).mkpath(true);
        let repository = Repository::init_opts(directory, &options).map_err(failed)?;
        // Nothing of the host's own configuration, such as addresses in place of others.
        let empty = Config::new().map_err(failed)?;
        repository.set_config(&empty).map_err(failed)?;
        let wanted = oid(&self.revision.id)?;
        let listing = |e| error::git(FETCH, "listing the repository", &e);
        let mut remote = repository.remote_anonymous(self.url).map_err(listing)?;
        let callbacks = Some(self.callbacks());
        let connection = remote.connect_auth(Direction::Fetch, callbacks, None).map_err(listing)?;
        let attempts = self.attempts(&heads(connection.list().map_err(listing)?), wanted);
        // The first attempt goes on where the list came from.
        let mut connection = Some(connection);
        let mut last: Option<Error> = None;
        for attempt in attempts {
            self.stop.check(FETCH)?;
            let fetched = match connection.take() {
                Some(mut connection) => self.fetch(connection.remote(), &attempt),
                None => repository
                    .remote_anonymous(self.url)
                    .and_then(|mut remote| self.fetch(&mut remote, &attempt)),
            };
            if repository.find_object(wanted, None).is_ok() {
                return Ok(());
            }
            if let Err(e) = fetched {
                let error = error::git(FETCH, "receiving objects", &e);
                let given_up = self.health.as_ref().is_some_and(Health::has_failed);
                // Another way would need no less of a disk that is full.
                if self.stop.is_set() || given_up || error.kind() == ErrorKind::Exhausted {
                    return Err(error);
                }
                tracing::debug!(error = %e, "the server does not give the commit this way");
                last = last.filter(|e| e.kind() == ErrorKind::Corrupt).or(Some(error));
            }
        }
        Err(match last {
            // What cannot be read says nothing of what is there.
            Some(e) if e.kind() == ErrorKind::Corrupt => e,
            Some(e) => error::no_commit(wanted).source(e),
            None => error::no_commit(wanted),
        })
    }

    /// Ways to ask, the cheapest first.
    fn attempts(&self, heads: &[Head], wanted: Oid) -> Vec<Attempt> {
        let local = self.health.is_none();
        let one =
            |name: &str, depth| Attempt { refspecs: vec![format!("+{name}:{FETCHED}")], depth };
        let mut attempts = Vec::new();
        if let Some(name) = advertised(heads, wanted, self.revision.reference.as_deref()) {
            attempts.extend((!local).then(|| one(&name, 1)));
            attempts.push(one(&name, 0));
        }
        if !local {
            attempts.push(one(&wanted.to_string(), 1));
        }
        if let Some(name) = self.revision.reference.as_deref()
            && heads.iter().any(|h| h.name == name)
        {
            attempts.push(one(name, 0));
        }
        let all = ["heads", "tags"].map(|kind| format!("+refs/{kind}/*:refs/kiln/{kind}/*"));
        attempts.push(Attempt { refspecs: all.into(), depth: 0 });
        attempts
    }

    fn fetch(&self, remote: &mut git2::Remote<'_>, attempt: &Attempt) -> Result<(), git2::Error> {
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(self.callbacks())
            .download_tags(AutotagOption::None)
            .update_fetchhead(false)
            .follow_redirects(RemoteRedirect::None)
            .depth(attempt.depth);
        remote.fetch(&attempt.refspecs, Some(&mut options), None)
    }

    fn callbacks(&self) -> RemoteCallbacks<'_> {
        let mut callbacks = RemoteCallbacks::new();
        let mut lines = Lines::default();
        callbacks.sideband_progress(move |bytes| {
            for line in lines.push(bytes) {
                self.log.line(format!("remote: {line}"));
            }
            !self.stop.is_set()
        });
        callbacks.transfer_progress(|progress| {
            let (received, total) = (progress.received_objects(), progress.total_objects());
            let (action, done, total) = if received < total || progress.total_deltas() == 0 {
                ("Receiving objects", received, total)
            } else {
                ("Resolving deltas", progress.indexed_deltas(), progress.total_deltas())
            };
            self.log.progress(Progress {
                item: self.name.to_owned(),
                action: action.to_owned(),
                done: done as u64,
                total: Some(total as u64),
                unit: ProgressUnit::Objects,
            });
            !self.stop.is_set()
        });
        callbacks
    }
}

/// A reference that points to a commit, best the one it was chosen by.
fn advertised(heads: &[Head], wanted: Oid, chosen: Option<&str>) -> Option<String> {
    let name = |h: &Head| h.name.strip_suffix("^{}").unwrap_or(&h.name).to_owned();
    let mut names: Vec<_> = heads.iter().filter(|h| h.id == wanted).map(name).collect();
    names.sort_by_key(|n| (Some(n.as_str()) != chosen, n == "HEAD"));
    names.into_iter().next()
}

/// A commit id that libgit2 can use.
pub(crate) fn oid(id: &str) -> Result<Oid> {
    let full = crate::refs::full_id(id).and_then(|id| Oid::from_str(&id).ok());
    full.ok_or_else(|| {
        if id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return error::sha256(FETCH);
        }
        Error::new(ErrorKind::Invalid, FETCH, "the revision is not a full commit id")
            .with("revision", id.chars().take(80).collect::<String>())
            .hint("Resolve the reference first.")
    })
}
