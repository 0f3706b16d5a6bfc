//! The index: one row a build, its summary as JSON beside the columns that lists ask for, and one
//! row a label.

use crate::{
    client::PgDb,
    error::{json, stored, unreadable},
    lines::Param,
};
use async_trait::async_trait;
use kiln::{
    BuildId, Result,
    port::{BuildFilter, BuildSummary, Index, Page},
    state::Phase,
};
use sha2::{Digest, Sha256};
use tokio_postgres::types::Type;

const PUT: &str = "SELECT put_summary($1, $2, $3, $4, $5, $6, $7, $8)";
const FORGET: &str = "SELECT forget_summary($1)";

/// The index of builds in a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PgIndex {
    db: PgDb,
}

impl PgIndex {
    pub(crate) fn new(db: PgDb) -> Self {
        Self { db }
    }
}

/// The stored word of a serialisable word.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The stored form of a label: the SHA-256 of how long its key is (8 bytes, little-endian), its key
/// and its value.
pub(crate) fn label(key: &str, value: &str) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update((key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(value);
    hash.finalize().to_vec()
}

/// A query that grows with its arguments.
pub(crate) struct Query {
    pub(crate) sql: String,
    pub(crate) args: Vec<(Param, Type)>,
}

impl Query {
    /// The place of an argument in the text.
    fn arg(&mut self, value: Param, of: Type) -> String {
        self.args.push((value, of));
        format!("${}", self.args.len())
    }

    fn text(&mut self, value: &str) -> String {
        self.arg(Box::new(value.to_owned()), Type::TEXT)
    }

    fn and(&mut self, condition: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
    }
}

/// The query of a filter and the place where a page begins. A label leads it where there is one, so
/// that it reads what it shows and little else.
pub(crate) fn query(filter: &BuildFilter, page: &Page) -> Query {
    let mut labels = filter.labels.iter();
    let leading = labels.next();
    let (from, at) = match leading {
        Some(_) => ("label l JOIN summary s ON s.build = l.build", "l"),
        None => ("summary s", "s"),
    };
    let sql = format!("SELECT s.summary FROM {from} WHERE true");
    let mut query = Query { sql, args: Vec::new() };
    if let Some((key, value)) = leading {
        let place = query.arg(Box::new(label(key, value)), Type::BYTEA);
        query.and(&format!("l.label = {place}"));
    }
    for (key, value) in labels {
        let place = query.arg(Box::new(label(key, value)), Type::BYTEA);
        query.and(&format!("{place} = ANY (s.labels)"));
    }
    if let Some(prefix) = filter.id_prefix.as_deref().filter(|p| !p.is_empty()) {
        // Ids are ASCII, so that this follows everything that begins with the prefix.
        let (from, end) = (plain(prefix), format!("{}\u{7f}", plain(prefix)));
        let (from, end) = (query.text(&from), query.text(&end));
        query.and(&format!("{at}.build >= {from} AND {at}.build < {end}"));
    }
    if let Some(owner) = &filter.owner {
        let place = query.text(owner.as_str());
        query.and(&format!("s.owner = {place}"));
    }
    if let Some(phase) = &filter.phase {
        let place = query.text(&word(phase));
        query.and(&format!("s.phase = {place}"));
        if *phase != Phase::Finished {
            // As the index of the few that are not over has it.
            query.and("s.phase <> 'finished'");
        }
    }
    if let Some(outcome) = &filter.outcome {
        let place = query.text(&plain(outcome));
        query.and(&format!("s.outcome = {place}"));
    }
    if let Some(after) = &page.after {
        let time = query.arg(Box::new(stored(after.accepted_at.0)), Type::INT8);
        let build = query.text(after.build.as_str());
        query.and(&format!("({at}.accepted_at, {at}.build) < ({time}, {build})"));
    }
    let max = query.arg(Box::new(stored(page.max as u64)), Type::INT8);
    let order = format!(" ORDER BY {at}.accepted_at DESC, {at}.build DESC LIMIT {max}");
    query.sql.push_str(&order);
    query
}

/// A text that is asked for. No id and no word has a NUL, which PostgreSQL would refuse.
fn plain(text: &str) -> String {
    text.replace('\0', "\u{1}")
}

#[async_trait]
impl Index for PgIndex {
    async fn put(&self, summary: &BuildSummary) -> Result<()> {
        const OP: &str = "Index::put";
        let id = summary.build.to_string();
        let labels: Vec<_> = summary.labels.iter().map(|(k, v)| label(k, v)).collect();
        let params: Vec<Param> = vec![
            Box::new(id.clone()),
            Box::new(stored(summary.seq.0)),
            Box::new(stored(summary.accepted_at.0)),
            Box::new(summary.owner.to_string()),
            Box::new(word(&summary.phase)),
            Box::new(summary.outcome.as_ref().map(|o| o.word().to_owned())),
            Box::new(labels),
            Box::new(json(OP, summary)?),
        ];
        self.db.write(OP, &id, PUT, params).await.map(drop)
    }

    async fn list(&self, filter: &BuildFilter, page: &Page) -> Result<Vec<BuildSummary>> {
        const OP: &str = "Index::list";
        let Query { sql, args } = query(filter, page);
        let rows = self.db.read_once(OP, &sql, &args).await?;
        let read = |row: tokio_postgres::Row| {
            serde_json::from_str(row.get(0))
                .map_err(|e| unreadable(OP, "the summary of a build cannot be read", e))
        };
        rows.into_iter().map(read).collect()
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        let id = build.to_string();
        self.db.write("Index::forget", &id, FORGET, vec![Box::new(id.clone())]).await.map(drop)
    }
}
