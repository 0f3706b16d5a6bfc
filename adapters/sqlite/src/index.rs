//! The index: one row a build, its summary as JSON beside the columns that lists ask for.

use crate::{client::SqliteDb, error::translate};
use async_trait::async_trait;
use kiln::{
    BuildId, Error, ErrorKind, Result,
    port::{BuildFilter, BuildSummary, Index, Page},
};
use rusqlite::{ToSql, params, types::Value};

/// The index of builds in a SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteIndex {
    db: SqliteDb,
}

impl SqliteIndex {
    pub(crate) fn new(db: SqliteDb) -> Self {
        Self { db }
    }
}

/// The stored word of a serialisable word.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A query for a filter and the place a page begins.
fn query(filter: &BuildFilter, page: &Page) -> (String, Vec<Value>) {
    let mut sql = "SELECT summary FROM summary WHERE 1".to_owned();
    let mut args: Vec<Value> = Vec::new();
    let mut and = |sql: &mut String, condition: &str, values: Vec<String>| {
        sql.push_str(" AND ");
        sql.push_str(condition);
        args.extend(values.into_iter().map(Value::Text));
    };
    if let Some(prefix) = &filter.id_prefix {
        and(&mut sql, "substr(build, 1, length(?)) = ?", vec![prefix.clone(), prefix.clone()]);
    }
    if let Some(owner) = &filter.owner {
        and(&mut sql, "owner = ?", vec![owner.to_string()]);
    }
    if let Some(phase) = &filter.phase {
        and(&mut sql, "phase = ?", vec![word(phase)]);
    }
    if let Some(outcome) = &filter.outcome {
        and(&mut sql, "outcome = ?", vec![outcome.clone()]);
    }
    for (key, value) in &filter.labels {
        let condition = "EXISTS (SELECT 1 FROM json_each(summary, '$.labels') l WHERE l.key = ? AND l.value = ?)";
        and(&mut sql, condition, vec![key.clone(), value.clone()]);
    }
    if let Some(after) = &page.after {
        sql.push_str(" AND (accepted_at, build) < (?, ?)");
        args.push(Value::Integer(after.accepted_at.0 as i64));
        args.push(Value::Text(after.build.to_string()));
    }
    sql.push_str(" ORDER BY accepted_at DESC, build DESC LIMIT ?");
    args.push(Value::Integer(i64::try_from(page.max).unwrap_or(i64::MAX)));
    (sql, args)
}

#[async_trait]
impl Index for SqliteIndex {
    async fn put(&self, summary: &BuildSummary) -> Result<()> {
        const OP: &str = "Index::put";
        let s = summary.clone();
        let text = serde_json::to_string(summary)
            .map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))?;
        self.db
            .write(OP, move |t| {
                let sql =
                    "INSERT INTO summary (build, seq, accepted_at, owner, phase, outcome, summary)
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                           ON CONFLICT (build) DO UPDATE SET seq = ?2, accepted_at = ?3, owner = ?4,
                               phase = ?5, outcome = ?6, summary = ?7
                           WHERE seq <= ?2";
                let outcome = s.outcome.as_ref().map(kiln::Outcome::word);
                t.execute(
                    sql,
                    params![
                        s.build.as_str(),
                        s.seq.0,
                        s.accepted_at.0,
                        s.owner.as_str(),
                        word(&s.phase),
                        outcome,
                        text
                    ],
                )
                .map_err(|e| translate(OP, e))?;
                Ok(())
            })
            .await
    }

    async fn list(&self, filter: &BuildFilter, page: &Page) -> Result<Vec<BuildSummary>> {
        const OP: &str = "Index::list";
        let (sql, args) = query(filter, page);
        let texts: Vec<String> = self
            .db
            .run(OP, move |c| {
                let mut select = c.prepare_cached(&sql).map_err(|e| translate(OP, e))?;
                let args: Vec<&dyn ToSql> = args.iter().map(|a| a as &dyn ToSql).collect();
                select
                    .query_map(args.as_slice(), |r| r.get(0))
                    .and_then(Iterator::collect)
                    .map_err(|e| translate(OP, e))
            })
            .await?;
        let read = |text: String| {
            serde_json::from_str(&text).map_err(|e| {
                Error::new(ErrorKind::Corrupt, OP, "a summary cannot be read").source(e.to_string())
            })
        };
        texts.into_iter().map(read).collect()
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        const OP: &str = "Index::forget";
        let id = build.clone();
        self.db
            .write(OP, move |t| {
                t.execute("DELETE FROM summary WHERE build = ?1", [id.as_str()])
                    .map(drop)
                    .map_err(|e| translate(OP, e))
            })
            .await
    }
}
