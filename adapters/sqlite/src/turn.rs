//! Whose turn it is. Jobs of one owner and one placement make a lane, in which the first is the
//! next; a lease looks at the heads of the lanes, and at no job behind them.

use crate::{
    error::{Stop, unreadable},
    queue::{number, stored},
};
use kiln::{
    BuildId, Owner, Placement, Resources, Timestamp,
    port::{Job, Lease, Node},
};
use rusqlite::{Connection, Row, params};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

const OP: &str = "Queue::lease";

/// The first job of a lane.
#[derive(Debug)]
struct Head {
    owner: String,
    shape: i64,
    priority: i32,
    age: u64,
    build: String,
    not_before: u64,
}

impl Head {
    /// Of one owner's jobs the lowest goes first.
    fn rank(&self) -> (Reverse<i32>, u64) {
        (Reverse(self.priority), self.age)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            owner: row.get(0)?,
            shape: row.get(1)?,
            priority: row.get(2)?,
            age: row.get(3)?,
            build: row.get(4)?,
            not_before: row.get(5)?,
        })
    }
}

/// The next job of a node, or when to look again at the latest.
pub(crate) fn lease(
    c: &Connection,
    node: &Node,
    now: Timestamp,
    ttl: Duration,
) -> Result<Result<Lease, Option<Timestamp>>, Stop> {
    // What was delayed long enough, and what a lease held that has expired.
    c.prepare_cached("UPDATE job SET wakes = NULL, held = 0 WHERE wakes <= ?1")?
        .execute([stored(now)])?;
    let Some((head, placement)) = pick(c, node)? else {
        let again: Option<u64> = c
            .prepare_cached("SELECT min(wakes) FROM job WHERE wakes IS NOT NULL")?
            .query_row([], |r| r.get(0))?;
        return Ok(Err(again.map(Timestamp)));
    };
    let (token, until) = (number(c)?, now.plus(ttl));
    c.prepare_cached(
        "UPDATE job SET token = ?2, holder = ?3, held = 1, wakes = ?4 WHERE build = ?1",
    )?
    .execute(params![head.build, token, node.id.as_str(), stored(until)])?;
    let job = Job {
        build: BuildId::new(&head.build).map_err(|e| unreadable(OP, "a job cannot be read", e))?,
        owner: Owner::new(&head.owner).map_err(|e| unreadable(OP, "a job cannot be read", e))?,
        priority: head.priority,
        placement,
        not_before: Timestamp(head.not_before),
    };
    Ok(Ok(Lease { job, token, until }))
}

fn placement(c: &Connection, shape: i64) -> Result<Placement, Stop> {
    let text: String = c
        .prepare_cached("SELECT placement FROM shape WHERE id = ?1")?
        .query_row([shape], |r| r.get(0))?;
    Ok(serde_json::from_str(&text)
        .map_err(|e| unreadable(OP, "the placement of a job cannot be read", e))?)
}

/// What the leases of a node leave free, if it has a slot left. A resource a node has 0 of is one
/// it does not limit.
fn free(c: &Connection, node: &Node) -> Result<Option<Resources>, Stop> {
    let has = node.resources;
    let mut cpu_millis = if has.cpu_millis == 0 { u32::MAX } else { has.cpu_millis };
    let mut memory_bytes = if has.memory_bytes == 0 { u64::MAX } else { has.memory_bytes };
    let mut slots = if node.drained { 0 } else { node.slots };
    if slots == 0 {
        return Ok(None);
    }
    let mut held = c.prepare_cached("SELECT shape FROM job WHERE held = 1 AND holder = ?1")?;
    for shape in held.query_map([node.id.as_str()], |r| r.get(0))? {
        let used = placement(c, shape?)?.resources;
        cpu_millis = cpu_millis.saturating_sub(used.cpu_millis);
        memory_bytes = memory_bytes.saturating_sub(used.memory_bytes);
        slots = slots.saturating_sub(1);
    }
    Ok((slots > 0).then_some(Resources { cpu_millis, memory_bytes }))
}

/// The job that is this node's turn.
fn pick(c: &Connection, node: &Node) -> Result<Option<(Head, Placement)>, Stop> {
    let Some(free) = free(c, node)? else { return Ok(None) };
    let mut next = c.prepare_cached(
        "SELECT owner, shape, priority, age, build, not_before FROM job
         WHERE wakes IS NULL AND (owner, shape) > (?1, ?2)
         ORDER BY owner, shape, priority DESC, age LIMIT 1",
    )?;
    let mut shapes: BTreeMap<i64, (Placement, bool)> = BTreeMap::new();
    let mut best: BTreeMap<String, Head> = BTreeMap::new();
    let mut lane = (String::new(), i64::MIN);
    while let Some(row) = next.query(params![lane.0, lane.1])?.next()? {
        let head = Head::read(row)?;
        lane = (head.owner.clone(), head.shape);
        let fits = match shapes.entry(head.shape) {
            Entry::Occupied(known) => known.get().1,
            Entry::Vacant(new) => {
                let placement = placement(c, head.shape)?;
                let fits = placement.fits(&node.id, &node.labels, free);
                new.insert((placement, fits)).1
            }
        };
        if fits && best.get(&head.owner).is_none_or(|b| head.rank() < b.rank()) {
            best.insert(head.owner.clone(), head);
        }
    }
    let leases = leases(c)?;
    let count = |h: &Head| leases.get(&h.owner).copied().unwrap_or(0);
    let first = best.into_values().min_by_key(|h| (count(h), h.age));
    Ok(first.and_then(|h| shapes.remove(&h.shape).map(|(placement, _)| (h, placement))))
}

/// How many leases each owner has.
fn leases(c: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    c.prepare_cached("SELECT owner, count(*) FROM job WHERE held = 1 GROUP BY owner")?
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect()
}

#[cfg(test)]
mod tests {
    /// How SQLite would answer.
    fn way(sql: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let (c, _) = crate::open::open(&dir.path().join("kiln.db")).unwrap();
        let mut explain = c.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = explain.query_map([], |r| r.get::<_, String>(3)).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn no_question_reads_the_whole_queue() {
        let seek = "SELECT owner, shape, priority, age, build, not_before FROM job
                    WHERE wakes IS NULL AND (owner, shape) > ('o', 1)
                    ORDER BY owner, shape, priority DESC, age LIMIT 1";
        for (sql, part) in [
            (seek, "SEARCH job USING INDEX job_ready ((owner,shape)>(?,?))"),
            ("UPDATE job SET wakes = NULL, held = 0 WHERE wakes <= 1", "job_wakes (wakes<?)"),
            ("SELECT min(wakes) FROM job WHERE wakes IS NOT NULL", "job_wakes"),
            ("SELECT shape FROM job WHERE held = 1 AND holder = 'n'", "job_held (holder=?)"),
            ("SELECT owner, count(*) FROM job WHERE held = 1 GROUP BY owner", "job_held"),
            (
                "DELETE FROM shape WHERE id = 1 AND NOT EXISTS (SELECT 1 FROM job WHERE shape = 1)",
                "job_by_shape (shape=?)",
            ),
        ] {
            let way = way(sql);
            assert!(way.contains(part), "{sql}: {way}");
        }
        assert!(!way(seek).contains("TEMP B-TREE"));
    }
}
