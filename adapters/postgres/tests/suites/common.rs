//! What the tests of this crate share: a schema of their own in a real server, and appends.

use kiln::{
    BuildId, Error, ErrorKind, Event, Seq, StepId, Timestamp,
    port::{Entry, Store},
};
use kiln_postgres::{PgConfig, PgDb};
use serde_json::Value;
use std::{
    future::Future,
    io::{BufRead, BufReader},
    process::{self, Command, Stdio},
    time::Duration,
};
use tokio_postgres::{Client, NoTls};

/// How many events one append of the tests has.
pub(crate) const EVENTS: u64 = 3;

const TOLD: &str = "KILN_POSTGRES_CHILD";

/// Whether the real parts are there; says so if not.
pub(crate) fn real(test: &str) -> bool {
    let there = std::env::var_os("KILN_TEST_REAL").is_some_and(|v| v == "1");
    if !there {
        println!("SKIPPED: {test}: KILN_TEST_REAL is not set");
    }
    there
}

/// The address of the server of the tests; says so if there is none.
pub(crate) fn server(test: &str) -> Option<String> {
    if !real(test) {
        return None;
    }
    let Some(path) = std::env::var_os("KILN_TEST_SERVICES") else {
        println!("SKIPPED: {test}: KILN_TEST_SERVICES is not set");
        return None;
    };
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let found = all["services"]["postgres"]["url"].as_str().map(str::to_owned);
    if found.is_none() {
        println!("SKIPPED: {test}: the service postgres does not run");
    }
    found
}

/// A schema that only one test uses. It goes when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) schema: String,
    /// Whether it is another's, who has it removed.
    lent: bool,
}

impl Place {
    pub(crate) fn new(test: &str) -> Option<Self> {
        Some(Self::at(server(test)?))
    }

    pub(crate) fn at(url: String) -> Self {
        Self { url, schema: format!("t_{}", &BuildId::random().as_str()[..16]), lent: false }
    }

    pub(crate) fn config(&self) -> PgConfig {
        PgConfig::new(&self.url).unwrap().schema(&self.schema).unwrap()
    }

    pub(crate) async fn db(&self) -> PgDb {
        PgDb::connect(&self.config()).await.unwrap()
    }

    /// A connection of the test's own, in the same schema.
    pub(crate) async fn raw(&self) -> Client {
        let client = raw(&self.url).await;
        client.batch_execute(&format!("SET search_path = {}", self.schema)).await.unwrap();
        client
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.lent {
            return;
        }
        let (url, schema) = (self.url.clone(), self.schema.clone());
        // Not in the runtime of the test, which may be ending.
        let dropped = std::thread::spawn(move || {
            run(async {
                let Ok(client) = connected(&url).await else { return };
                let sql =
                    format!("SET lock_timeout = '5s'; DROP SCHEMA IF EXISTS {schema} CASCADE");
                // What stays is gone with the server.
                let _ = client.batch_execute(&sql).await;
            });
        });
        let _ = dropped.join();
    }
}

pub(crate) async fn connected(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

pub(crate) async fn raw(url: &str) -> Client {
    connected(url).await.unwrap()
}

/// What this process was told, if it is a child.
pub(crate) fn told() -> Option<Place> {
    let told = std::env::var(TOLD).ok()?;
    let (schema, url) = told.split_once(' ')?;
    Some(Place { url: url.to_owned(), schema: schema.to_owned(), lent: true })
}

/// This program as another process, running one test in a schema. Killed when dropped.
pub(crate) struct Child(process::Child);

impl Child {
    pub(crate) fn new(test: &str, place: &Place) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(TOLD, format!("{} {}", place.schema, place.url)).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Kills it without a warning.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
    }

    /// What it says after a word. The harness may have begun the line.
    pub(crate) fn said(
        &mut self,
        word: &'static str,
    ) -> impl Iterator<Item = String> + Send + 'static {
        let after = move |line: String| line.split_once(word).map(|(_, said)| said.to_owned());
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        lines.map_while(Result::ok).filter_map(after)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn build(name: &str) -> BuildId {
    BuildId::new(name).unwrap()
}

/// The append of a build that comes after so many others.
pub(crate) async fn append(db: &PgDb, name: &str, after: u64) -> Result<Seq, Error> {
    let event = || Event::StepSkipped { step: StepId(7) };
    let entries = [0, 1, 2].map(|i| Entry { at: Timestamp(after * EVENTS + i), event: event() });
    db.store().append(&build(name), Seq(after * EVENTS), &entries).await
}

/// How many appends a build has; fails if one is there in part, or at another place.
pub(crate) async fn loaded(db: &PgDb, name: &str) -> Result<u64, Error> {
    let journal = match db.store().load(&build(name), Seq::START).await {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(0),
        journal => journal?,
    };
    for (i, recorded) in journal.iter().enumerate() {
        assert_eq!((recorded.seq.0, recorded.at.0), (i as u64 + 1, i as u64));
    }
    assert_eq!(journal.len() as u64 % EVENTS, 0, "a part of an append");
    Ok(journal.len() as u64 / EVENTS)
}

/// Asks until the answer is yes; fails after two minutes.
pub(crate) async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    for _ in 0..6000 {
        if ask().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}: not in two minutes");
}

pub(crate) fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work);
}
