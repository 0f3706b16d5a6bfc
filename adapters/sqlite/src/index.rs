//! The index: one row a build, its summary as JSON beside the columns that lists ask for, and one
//! row a label.

use crate::{
    client::SqliteDb,
    error::{Stop, json, unreadable},
    news::Topic,
};
use async_trait::async_trait;
use kiln::{
    BuildId, Result,
    port::{BuildFilter, BuildSummary, Index, Page},
};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter, types::Value};

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

/// A query that grows with its arguments.
struct Query {
    sql: String,
    args: Vec<Value>,
}

impl Query {
    fn and<const N: usize>(&mut self, condition: &str, values: [&str; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.args.extend(values.map(|v| Value::Text(v.to_owned())));
    }
}

/// The query of a filter and the place where a page begins. The id, or else a label, leads it where
/// there is one, so that it reads what it shows and little else.
fn query(filter: &BuildFilter, page: &Page) -> Query {
    let prefix = filter.id_prefix.as_ref().filter(|p| !p.is_empty());
    let mut labels = filter.labels.iter();
    let leading = if prefix.is_none() { labels.next() } else { None };
    let (from, at) = match leading {
        Some(_) => ("label l CROSS JOIN summary s ON s.build = l.build", "l"),
        None => ("summary s", "s"),
    };
    let sql = format!("SELECT s.summary FROM {from} WHERE 1");
    let mut query = Query { sql, args: Vec::new() };
    if let Some((key, value)) = leading {
        query.and("l.key = ? AND l.value = ?", [key, value]);
    }
    for (key, value) in labels {
        let condition = "EXISTS (SELECT 1 FROM label o WHERE o.key = ? AND o.value = ?
                         AND o.accepted_at = s.accepted_at AND o.build = s.build)";
        query.and(condition, [key, value]);
    }
    if let Some(prefix) = prefix {
        // Ids are ASCII, so that this follows everything that begins with the prefix.
        let end = format!("{prefix}\u{7f}");
        query.and(&format!("{at}.build >= ? AND {at}.build < ?"), [prefix, &end]);
    }
    if let Some(owner) = &filter.owner {
        query.and("s.owner = ?", [owner.as_str()]);
    }
    if let Some(phase) = &filter.phase {
        query.and("s.phase = ?", [&word(phase)]);
    }
    if let Some(outcome) = &filter.outcome {
        query.and("s.outcome = ?", [outcome]);
    }
    if let Some(after) = &page.after {
        query.sql.push_str(&format!(" AND ({at}.accepted_at, {at}.build) < (?, ?)"));
        query.args.push(Value::Integer(i64::try_from(after.accepted_at.0).unwrap_or(i64::MAX)));
        query.args.push(Value::Text(after.build.to_string()));
    }
    // The `+` keeps SQLite from walking the builds by time where the ids are the shorter way.
    let plus = if prefix.is_some() { "+" } else { "" };
    query.sql.push_str(&format!(" ORDER BY {plus}{at}.accepted_at DESC, {at}.build DESC LIMIT ?"));
    query.args.push(Value::Integer(i64::try_from(page.max).unwrap_or(i64::MAX)));
    query
}

fn put(c: &Connection, s: &BuildSummary, text: &str) -> Result<(), Stop> {
    let old: Option<(u64, String)> = c
        .prepare_cached("SELECT seq, summary FROM summary WHERE build = ?1")?
        .query_row([s.build.as_str()], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    if old.as_ref().is_some_and(|(seq, _)| *seq > s.seq.0) {
        return Ok(());
    }
    let old = old.and_then(|(_, text)| serde_json::from_str::<BuildSummary>(&text).ok());
    let outcome = s.outcome.as_ref().map(kiln::Outcome::word);
    // Summaries come with every step, and mostly nothing changes in them that an index or a label
    // goes by: then no index is written.
    let same = |o: &BuildSummary| o.accepted_at == s.accepted_at && o.owner == s.owner;
    if old.as_ref().is_some_and(|o| same(o) && o.labels == s.labels) {
        let sql = "UPDATE summary SET seq = ?2, phase = ?3, outcome = ?4, summary = ?5
             WHERE build = ?1";
        let args = params![s.build.as_str(), s.seq.0, word(&s.phase), outcome, text];
        c.prepare_cached(sql)?.execute(args)?;
        return Ok(());
    }
    let sql =
        "INSERT OR REPLACE INTO summary (build, seq, accepted_at, owner, phase, outcome, summary)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    c.prepare_cached(sql)?.execute(params![
        s.build.as_str(),
        s.seq.0,
        s.accepted_at.0,
        s.owner.as_str(),
        word(&s.phase),
        outcome,
        text
    ])?;
    c.prepare_cached("DELETE FROM label WHERE build = ?1")?.execute([s.build.as_str()])?;
    let mut insert = c.prepare_cached(
        "INSERT INTO label (key, value, accepted_at, build) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (key, value) in &s.labels {
        insert.execute(params![key, value, s.accepted_at.0, s.build.as_str()])?;
    }
    Ok(())
}

#[async_trait]
impl Index for SqliteIndex {
    async fn put(&self, summary: &BuildSummary) -> Result<()> {
        const OP: &str = "Index::put";
        let text = json(OP, summary)?;
        let summary = summary.clone();
        self.db.write(OP, Topic::Quiet, move |c| put(c, &summary, &text)).await
    }

    async fn list(&self, filter: &BuildFilter, page: &Page) -> Result<Vec<BuildSummary>> {
        const OP: &str = "Index::list";
        let Query { sql, args } = query(filter, page);
        let texts: Vec<String> = self
            .db
            .read(OP, move |c| {
                let mut select = c.prepare_cached(&sql)?;
                let rows = select.query_map(params_from_iter(args), |r| r.get(0))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await?;
        let read = |text: String| {
            serde_json::from_str(&text).map_err(|e| unreadable(OP, "a summary cannot be read", e))
        };
        texts.into_iter().map(read).collect()
    }

    async fn forget(&self, build: &BuildId) -> Result<()> {
        const OP: &str = "Index::forget";
        let id = build.clone();
        self.db
            .write(OP, Topic::Quiet, move |c| {
                for sql in
                    ["DELETE FROM summary WHERE build = ?1", "DELETE FROM label WHERE build = ?1"]
                {
                    c.prepare_cached(sql)?.execute([id.as_str()])?;
                }
                Ok(())
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::{Timestamp, port::PageToken};
    use rusqlite::StatementStatus;
    use std::collections::BTreeMap;

    /// 9,000 builds, three accepted at each time, every tenth of an owner of its own.
    fn filled() -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let (c, _) = crate::open::open(&dir.path().join("kiln.db")).unwrap();
        c.execute_batch(
            "WITH RECURSIVE n (n) AS (VALUES (10001) UNION ALL SELECT n + 1 FROM n WHERE n < 19000)
             INSERT INTO summary (build, seq, accepted_at, owner, phase, summary)
             SELECT 'b' || n, 1, n / 3, iif(n % 10 = 0, 'ann', 'bob'), 'running', '{}' FROM n;
             INSERT INTO label (key, value, accepted_at, build)
             SELECT 'a', '1', accepted_at, build FROM summary;
             INSERT INTO label (key, value, accepted_at, build)
             SELECT 'b', '1', accepted_at, build FROM summary",
        )
        .unwrap();
        (dir, c)
    }

    #[test]
    fn no_list_reads_more_than_it_has_to() {
        let (_dir, c) = filled();
        let f = BuildFilter::default;
        let labels = BTreeMap::from(["a", "b"].map(|k| (k.to_owned(), "1".to_owned())));
        let middle = BuildId::new("b15000").unwrap();
        for after in [None, Some(PageToken { accepted_at: Timestamp(5000), build: middle })] {
            let page = Page { max: 10, after };
            for (filter, rows) in [
                (f(), 10),
                (BuildFilter { id_prefix: Some("b1234".into()), ..f() }, 10),
                (BuildFilter { owner: kiln::Owner::new("ann").ok(), ..f() }, 10),
                (BuildFilter { labels: labels.clone(), ..f() }, 10),
                (
                    BuildFilter { id_prefix: Some("b1234".into()), labels: labels.clone(), ..f() },
                    10,
                ),
            ] {
                let Query { sql, args } = query(&filter, &page);
                let mut select = c.prepare(&sql).unwrap();
                let found = select.query_map(params_from_iter(args), |_| Ok(())).unwrap().count();
                let steps = select.get_status(StatementStatus::VmStep);
                assert_eq!(found, rows, "{filter:?}");
                assert!(steps < 600, "{steps} steps of SQLite for {filter:?} {page:?}: {sql}");
            }
        }
    }
}
