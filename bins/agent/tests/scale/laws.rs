//! What holds for every build, whatever happened to it.

mod broken;

use crate::{
    load::Sent,
    runtime::{Noted, Task, hex, ledger},
};
use kiln::{
    BuildState, DriverId, Event, NodeId, Op, Recorded, StepId, StepKey,
    port::{LogBody, LogRecord, Stream},
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// What the nodes say that they did.
#[derive(Debug, Default)]
pub(crate) struct Ledgers {
    /// Which nodes began or went on with an attempt.
    begun: BTreeMap<StepKey, BTreeSet<NodeId>>,
    /// The hash that an attempt computed on a node.
    ended: BTreeMap<(StepKey, NodeId), String>,
}

impl Ledgers {
    pub(crate) fn read(&mut self, node: &NodeId, dir: &Path) {
        for line in fs::read_to_string(ledger(dir)).unwrap_or_default().lines() {
            let Noted { key, hash } = serde_json::from_str(line).unwrap();
            self.begun.entry(key.clone()).or_default().insert(node.clone());
            if let Some(hash) = hash {
                let before = self.ended.insert((key.clone(), node.clone()), hash.clone());
                assert!(before.is_none_or(|b| b == hash), "{key} printed two things on {node}");
            }
        }
    }
}

/// A build that is over.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) seed: u64,
    pub(crate) sent: &'a Sent,
    pub(crate) journal: &'a [Recorded],
    pub(crate) log: &'a [LogRecord],
    pub(crate) ledgers: &'a Ledgers,
}

/// What was seen in the journals, all together.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) drivers: usize,
    pub(crate) reattached: usize,
    pub(crate) lost: usize,
    pub(crate) bytes: usize,
}

/// An attempt, and the node whose driver started it.
type Attempts = BTreeMap<(StepId, u8), NodeId>;

impl Ended<'_> {
    /// Checks one build.
    pub(crate) fn check(&self, seen: &mut Seen) {
        self.ends_once();
        let mut whole = Attempts::new();
        let started = self.drivers(&mut whole, seen);
        self.nodes(&started);
        self.log(&started, &whole, seen);
    }

    fn key(&self, (step, attempt): (StepId, u8)) -> StepKey {
        StepKey { build: self.sent.build.clone(), step, attempt }
    }

    /// The journal ends with the outcome that the plan says, and nothing that was over goes on.
    fn ends_once(&self) {
        let build = &self.sent.build;
        let events: Vec<_> = self.journal.iter().map(|r| &r.event).collect();
        let ends = events.iter().filter(|e| matches!(e, Event::Finished { .. })).count();
        assert_eq!(ends, 1, "{build} ended {ends} times: {events:#?}");
        let outcome = Event::Finished { outcome: self.sent.outcome.clone() };
        assert_eq!(events.last(), Some(&&outcome), "{build} has another end: {events:#?}");
        for (i, recorded) in (1..).zip(self.journal) {
            assert_eq!(recorded.seq.0, i, "{build} has a hole or a repeat in its journal");
        }
        let mut state = BuildState::replay(events[..1].iter().copied()).unwrap();
        for event in &events[1..] {
            let before = state.clone();
            state.apply(event).unwrap_or_else(|e| panic!("{build}: {e}: {events:#?}"));
            for id in self.sent.plan.ids().filter(|id| before.step(*id).is_over()) {
                assert_eq!(before.step(id), state.step(id), "{build}: {id} was over and went on");
            }
        }
    }

    /// What ended belongs to the driver that the build had then; returns what was started, and in
    /// `whole` what came to its end.
    fn drivers(&self, whole: &mut Attempts, seen: &mut Seen) -> Attempts {
        let build = &self.sent.build;
        let mut known: BTreeSet<DriverId> = BTreeSet::new();
        let (mut node, mut running, mut started) = (None, Attempts::new(), Attempts::new());
        for recorded in self.journal {
            match &recorded.event {
                Event::Adopted { driver, node: by, kept } => {
                    assert!(known.insert(driver.clone()), "{build}: adopted twice by {driver}");
                    let before = running.len();
                    running.retain(|(step, _), on| kept.contains(step) && on == by);
                    assert_eq!(running.len(), kept.len(), "{build}: kept what was not there");
                    seen.reattached += kept.len();
                    seen.lost += before - kept.len();
                    node = Some(by.clone());
                }
                Event::StepStarted { step, attempt } => {
                    let node = node.clone().expect("started by nobody");
                    running.insert((*step, *attempt), node.clone());
                    started.insert((*step, *attempt), node);
                }
                Event::StepSucceeded { step, attempt, .. }
                | Event::StepFailed { step, attempt, .. } => {
                    let on = running.remove(&(*step, *attempt));
                    assert!(on.is_some(), "{build}: a fenced driver wrote {recorded:?}");
                    assert_eq!(on, node, "{build}: the driver of another node wrote {recorded:?}");
                    whole.extend(on.map(|on| ((*step, *attempt), on)));
                }
                _ => {}
            }
        }
        seen.drivers += known.len();
        started
    }

    /// Nothing was performed but what a driver of that very node had announced.
    fn nodes(&self, started: &Attempts) {
        for (key, nodes) in &self.ledgers.begun {
            if key.build == self.sent.build {
                let by = started.get(&(key.step, key.attempt));
                let only = nodes.iter().eq(by);
                assert!(only, "{key} was performed by {nodes:?}, and {by:?} said it would");
            }
        }
    }

    /// Of an attempt that ended the log has every byte, of any other a beginning, of others nothing.
    fn log(&self, started: &Attempts, whole: &Attempts, seen: &mut Seen) {
        let mut at = 0;
        let mut printed: BTreeMap<(StepId, u8), [Vec<u8>; 2]> = BTreeMap::new();
        for record in self.log {
            assert_eq!(record.at.0, at, "the log has a hole or a repeat");
            at = record.end().0;
            let of = printed.entry((record.step, record.attempt)).or_default();
            match &record.body {
                LogBody::Bytes { stream: Stream::Stdout, data } => of[0].extend_from_slice(data),
                LogBody::Bytes { stream: Stream::Stderr, data } => of[1].extend_from_slice(data),
                LogBody::Gap { .. } => panic!("{}: {record:?}", self.sent.build),
                _ => {}
            }
        }
        for attempt in whole.keys() {
            printed.entry(*attempt).or_default();
        }
        for (attempt, logged) in &printed {
            let key = self.key(*attempt);
            let node = started.get(attempt).unwrap_or_else(|| panic!("{key} printed unstarted"));
            seen.bytes += logged[0].len() + logged[1].len();
            match whole.get(attempt) {
                Some(_) => self.is_whole(&key, node, logged),
                None => self.is_beginning(&key, node, logged),
            }
        }
    }

    /// The log, hashed, is what the step computed.
    fn is_whole(&self, key: &StepKey, node: &NodeId, [out, err]: &[Vec<u8>; 2]) {
        let computed = self.ledgers.ended.get(&(key.clone(), node.clone()));
        let computed = computed.unwrap_or_else(|| panic!("{key} never ended on {node}"));
        let end = format!("\nsha256 {computed}\n");
        let body = out.strip_suffix(end.as_bytes());
        let body = body.unwrap_or_else(|| panic!("{key}: the log has another end"));
        let hash = hex(&Sha256::new().chain_update(body).chain_update(err).finalize());
        assert_eq!(hash, *computed, "{key}: the log is another one");
    }

    fn is_beginning(&self, key: &StepKey, node: &NodeId, [out, err]: &[Vec<u8>; 2]) {
        let Op::Exec { command, .. } = &self.sent.plan.step(key.step).op else { return };
        let printing = Task::read(command).unwrap().printing(self.seed, key, node);
        for (stream, logged) in [(Stream::Stdout, out), (Stream::Stderr, err)] {
            assert!(printing.of(stream).starts_with(logged), "{key}: {stream:?} is not of {node}");
        }
    }
}
