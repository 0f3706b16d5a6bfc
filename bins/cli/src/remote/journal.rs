//! Journals of builds that a server has.

use super::Client;
use async_trait::async_trait;
use kiln::{
    BuildId, Error, ErrorKind, Recorded, Result, Seq,
    port::{Entry, Store},
};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How many events a server gives at once.
const PAGE: usize = 1000;
/// How long a server is asked to wait for news, which is less than it may be silent.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Reads journals. Only the server writes them.
#[derive(Debug)]
pub(crate) struct ServerJournals(Client);

impl ServerJournals {
    pub(crate) fn new(client: Client) -> Self {
        Self(client)
    }
}

impl ServerJournals {
    /// One page of a journal; what there is, or what comes in time.
    async fn page(&self, build: &BuildId, after: Seq, wait: Duration) -> Result<Vec<Recorded>> {
        let path = ["builds", build.as_str(), "journal"];
        let (after, limit) = (after.0.to_string(), PAGE.to_string());
        let wait = wait.as_secs().to_string();
        let query = [("after", after.as_str()), ("limit", &limit), ("wait", &wait)];
        self.0.get("Store::load", &path, &query).await
    }
}

fn not_here(op: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, op, "journals of a server are only read here")
}

#[async_trait]
impl Store for ServerJournals {
    async fn append(&self, _: &BuildId, _: Seq, _: &[Entry]) -> Result<Seq> {
        Err(not_here("Store::append"))
    }

    async fn load(&self, build: &BuildId, after: Seq) -> Result<Vec<Recorded>> {
        let mut all = self.page(build, after, Duration::ZERO).await?;
        let mut last = all.len();
        while last >= PAGE {
            let after = all.last().map_or(after, |recorded| recorded.seq);
            let page = self.page(build, after, Duration::ZERO).await?;
            last = page.len();
            all.extend(page);
        }
        Ok(all)
    }

    async fn wait(&self, build: &BuildId, after: Seq, patience: Duration) -> Result<bool> {
        let until = Instant::now() + patience;
        loop {
            let begin = Instant::now();
            // A second is the least that can be asked for.
            let wait = (until - begin).clamp(Duration::from_secs(1), WAIT_MAX);
            if !self.page(build, after, wait).await?.is_empty() {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            // A server that does not wait is not asked without a pause.
            sleep_until(begin + Duration::from_secs(1)).await;
        }
    }

    async fn unfinished(&self) -> Result<Vec<BuildId>> {
        Err(not_here("Store::unfinished"))
    }

    async fn forget(&self, _: &BuildId) -> Result<()> {
        Err(not_here("Store::forget"))
    }
}
