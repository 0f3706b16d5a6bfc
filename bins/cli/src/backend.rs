//! Where builds are: on this machine, or with a server.

use crate::{args::now, home::Home, remote::Server, text};
use kiln::{
    BuildId, Engine, Error, ErrorKind, Result,
    port::{BuildFilter, BuildSummary, Page},
};

/// Where a command looks for builds.
#[derive(Debug)]
pub(crate) enum Backend {
    /// In the data directory of this user.
    Here(Home),
    /// With a server.
    There(Server),
}

impl Backend {
    /// What tells of builds. That of a server only looks: it drives nothing.
    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Self::Here(home) => &home.engine,
            Self::There(server) => &server.engine,
        }
    }

    /// The unfinished builds that nobody drives. A server goes on with its own by itself.
    pub(crate) async fn interrupted(&self) -> Result<Vec<BuildId>> {
        match self {
            Self::Here(home) => home.interrupted().await,
            Self::There(_) => Ok(Vec::new()),
        }
    }

    /// The build that an id, or the beginning of one, names.
    pub(crate) async fn find(&self, prefix: &str) -> Result<BuildSummary> {
        find(self.engine(), prefix).await
    }

    /// The build that is named, or else the latest one.
    pub(crate) async fn find_or_latest(&self, prefix: Option<&str>) -> Result<BuildSummary> {
        if let Some(prefix) = prefix {
            return self.find(prefix).await;
        }
        let page = Page { max: 1, after: None };
        let latest = self.engine().list(&BuildFilter::default(), &page).await?.pop();
        latest.ok_or_else(|| Error::new(ErrorKind::NotFound, "kiln", "there are no builds yet"))
    }
}

/// The build that an id, or the beginning of one, names.
pub(crate) async fn find(engine: &Engine, prefix: &str) -> Result<BuildSummary> {
    let filter = BuildFilter { id_prefix: Some(prefix.into()), ..BuildFilter::default() };
    let mut found = engine.list(&filter, &Page { max: CANDIDATES_MAX + 1, after: None }).await?;
    if let Some(exact) = found.iter().find(|b| b.build.as_str() == prefix) {
        return Ok(exact.clone());
    }
    match found.len() {
        0 => Err(Error::new(ErrorKind::NotFound, "kiln", format!("there is no build `{prefix}`"))
            .hint("`kiln builds` lists them.")),
        1 => Ok(found.remove(0)),
        n => {
            let mut names: Vec<_> = found.iter().take(CANDIDATES_MAX).map(candidate).collect();
            if n > CANDIDATES_MAX {
                names.push("and more".into());
            }
            let message = format!("several builds begin with `{prefix}`: {}", names.join(", "));
            Err(Error::new(ErrorKind::Invalid, "kiln", message).hint("Write more of the id."))
        }
    }
}

/// How many builds are named where one was meant.
const CANDIDATES_MAX: usize = 5;

/// A build among others that could be meant: enough of its id to tell it from them, and its age.
fn candidate(build: &BuildSummary) -> String {
    format!("{} ({})", build.build, text::ago(now().since(build.accepted_at)))
}
