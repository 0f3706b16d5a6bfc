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
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

const OP: &str = "Queue::lease";
/// The head of an owner's next lane. Not one question with the next: of `(owner, shape) > (?, ?)`
/// SQLite finds only where the two are equal, and walks on from there through the whole lane.
const NEXT_LANE: &str = "SELECT owner, shape, priority, age, build, not_before FROM job
     WHERE wakes IS NULL AND owner = ?1 AND shape > ?2
     ORDER BY shape, priority DESC, age LIMIT 1";
/// The head of the first lane of the next owner.
const NEXT_OWNER: &str = "SELECT owner, shape, priority, age, build, not_before FROM job
     WHERE wakes IS NULL AND owner > ?1
     ORDER BY owner, shape, priority DESC, age LIMIT 1";
/// What was delayed long enough, and what a lease held that has expired.
const WAKE: &str = "UPDATE job SET wakes = NULL, held = 0 WHERE wakes <= ?1";
/// When something is free next.
const NEXT_WAKE: &str = "SELECT min(wakes) FROM job WHERE wakes IS NOT NULL";
/// How many leases of each placement a node has.
const HELD: &str = "SELECT shape, count(*) FROM job WHERE held = 1 AND holder = ?1 GROUP BY shape";
/// How many leases each placement has.
const SHAPES: &str = "SELECT shape, count(*) FROM job WHERE held = 1 GROUP BY shape";
/// How many leases each owner has.
const LEASES: &str = "SELECT owner, count(*) FROM job WHERE held = 1 GROUP BY owner";

/// What jobs of one lane have in common, as the table `shape` keeps it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shape {
    #[serde(flatten)]
    pub(crate) placement: Placement,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) limits: BTreeMap<String, u32>,
}

/// An owner and a placement.
type Lane = (String, i64);

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
    c.prepare_cached(WAKE)?.execute([stored(now)])?;
    let Some((head, shape)) = pick(c, node)? else {
        let again: Option<u64> = c.prepare_cached(NEXT_WAKE)?.query_row([], |r| r.get(0))?;
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
        placement: shape.placement,
        limits: shape.limits,
        not_before: Timestamp(head.not_before),
    };
    Ok(Ok(Lease { job, token, until }))
}

fn shape(c: &Connection, shape: i64) -> Result<Shape, Stop> {
    let text: String = c
        .prepare_cached("SELECT placement FROM shape WHERE id = ?1")?
        .query_row([shape], |r| r.get(0))?;
    Ok(serde_json::from_str(&text)
        .map_err(|e| unreadable(OP, "the placement of a job cannot be read", e))?)
}

/// How many leases each group has.
fn groups(c: &Connection) -> Result<BTreeMap<String, u32>, Stop> {
    let mut groups = BTreeMap::new();
    let mut held = c.prepare_cached(SHAPES)?;
    for row in held.query_map([], |r| Ok((r.get(0)?, r.get::<_, u32>(1)?)))? {
        let (id, count) = row?;
        for group in shape(c, id)?.limits.into_keys() {
            *groups.entry(group).or_default() += count;
        }
    }
    Ok(groups)
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
    let mut held = c.prepare_cached(HELD)?;
    // A node with many slots has few placements: each is read once.
    for row in held.query_map([node.id.as_str()], |r| Ok((r.get(0)?, r.get::<_, u32>(1)?)))? {
        let (id, many) = row?;
        let used = shape(c, id)?.placement.resources;
        cpu_millis = cpu_millis.saturating_sub(used.cpu_millis.saturating_mul(many));
        memory_bytes =
            memory_bytes.saturating_sub(used.memory_bytes.saturating_mul(u64::from(many)));
        slots = slots.saturating_sub(u16::try_from(many).unwrap_or(u16::MAX));
    }
    Ok((slots > 0).then_some(Resources { cpu_millis, memory_bytes }))
}

/// The head of the lane after this one.
fn after(c: &Connection, lane: Option<&Lane>) -> rusqlite::Result<Option<Head>> {
    let Some((owner, shape)) = lane else {
        return c.prepare_cached(NEXT_OWNER)?.query_row([""], Head::read).optional();
    };
    let mut next = c.prepare_cached(NEXT_LANE)?;
    if let Some(head) = next.query_row(params![owner, shape], Head::read).optional()? {
        return Ok(Some(head));
    }
    c.prepare_cached(NEXT_OWNER)?.query_row([owner], Head::read).optional()
}

/// The job that is this node's turn.
fn pick(c: &Connection, node: &Node) -> Result<Option<(Head, Shape)>, Stop> {
    let Some(free) = free(c, node)? else { return Ok(None) };
    let groups = groups(c)?;
    let within = |(group, max): (&String, &u32)| groups.get(group).unwrap_or(&0) < max;
    let mut shapes: BTreeMap<i64, (Shape, bool)> = BTreeMap::new();
    let mut best: BTreeMap<String, Head> = BTreeMap::new();
    let mut lane = None;
    while let Some(head) = after(c, lane.as_ref())? {
        lane = Some((head.owner.clone(), head.shape));
        let fits = match shapes.entry(head.shape) {
            Entry::Occupied(known) => known.get().1,
            Entry::Vacant(new) => {
                let shape = shape(c, head.shape)?;
                let fits = shape.placement.fits(&node.id, &node.labels, free)
                    && shape.limits.iter().all(within);
                new.insert((shape, fits)).1
            }
        };
        if fits && best.get(&head.owner).is_none_or(|b| head.rank() < b.rank()) {
            best.insert(head.owner.clone(), head);
        }
    }
    let leases = leases(c)?;
    let count = |h: &Head| leases.get(&h.owner).copied().unwrap_or(0);
    let first = best.into_values().min_by_key(|h| (count(h), h.age));
    Ok(first.and_then(|h| shapes.remove(&h.shape).map(|(shape, _)| (h, shape))))
}

/// How many leases each owner has.
fn leases(c: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    c.prepare_cached(LEASES)?.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::{Params, StatementStatus};

    fn opened() -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let (c, _) = crate::open::open(&dir.path().join("kiln.db")).unwrap();
        (dir, c)
    }

    /// Two owners with a long lane each, a long row of delayed jobs, and leases of two nodes.
    fn filled() -> (tempfile::TempDir, Connection) {
        let (dir, c) = opened();
        c.execute_batch(
            "INSERT INTO shape VALUES (1, '{}');
             WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 9000)
             INSERT INTO job (build, owner, priority, age, shape, not_before, held, holder, wakes)
             SELECT 'b' || n, 'o' || n % 2, n % 5, n, 1, 0, n % 1000 = 0,
                 iif(n % 1000 = 0, 'n' || n % 2000, NULL),
                 iif(n % 3 = 0 OR n % 1000 = 0, 1000 + n, NULL) FROM n",
        )
        .unwrap();
        (dir, c)
    }

    #[test]
    fn no_question_reads_the_whole_queue() {
        let (_dir, c) = filled();
        for (sql, args) in [
            (NEXT_LANE, ["o1", "1"]),
            (NEXT_LANE, ["o1", "0"]),
            (NEXT_OWNER, ["", ""]),
            (NEXT_OWNER, ["o0", ""]),
            (WAKE, ["1", ""]),
            (NEXT_WAKE, ["", ""]),
            (HELD, ["n0", ""]),
            (LEASES, ["", ""]),
            (SHAPES, ["", ""]),
        ] {
            let mut statement = c.prepare(sql).unwrap();
            let args = &args[..statement.parameter_count()];
            let steps = count(&mut statement, rusqlite::params_from_iter(args));
            assert!(steps < 300, "{steps} steps of SQLite for {sql} {args:?}");
        }
    }

    fn count(statement: &mut rusqlite::Statement<'_>, args: impl Params) -> i32 {
        let mut rows = statement.query(args).unwrap();
        while rows.next().unwrap().is_some() {}
        drop(rows);
        statement.get_status(StatementStatus::VmStep)
    }
}
