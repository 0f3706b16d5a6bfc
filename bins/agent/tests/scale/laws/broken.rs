//! The laws, on builds that break them: each of these must be seen.

use super::{Attempts, Ended, Ledgers, Seen};
use crate::{load::Sent, runtime::Task};
use kiln::{
    BoxName, BoxSpec, BuildId, DriverId, Event, ImageRef, NodeId, Op, Outcome, Output, Owner, Plan,
    Recorded, Seq, Step, StepId, StepKey, Timestamp,
    port::{LogBody, LogRecord, Offset, Stream},
};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

const SEED: u64 = 7;
const STEP: StepId = StepId(0);
const TASK: Task = Task { bytes: 20_000, millis: 0, exit: 0 };

/// A build whose first attempt was lost on node `a`, and whose second ended on node `b`.
struct Case {
    sent: Sent,
    journal: Vec<Recorded>,
    log: Vec<LogRecord>,
    ledgers: Ledgers,
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn adopted(driver: &str, by: &str) -> Event {
    let driver = DriverId::new(driver).unwrap();
    Event::Adopted { driver, node: node(by), kept: Vec::new() }
}

fn started(attempt: u8) -> Event {
    Event::StepStarted { step: STEP, attempt }
}

fn succeeded(attempt: u8) -> Event {
    Event::StepSucceeded { step: STEP, attempt, output: Box::new(Output::default()) }
}

impl Case {
    fn sound() -> Self {
        let mut plan = Plan::builder();
        let in_box = BoxName::new("main").unwrap();
        plan.add_box(in_box.clone(), BoxSpec::new(ImageRef::parse("none").unwrap()));
        let op = Op::Exec { in_box, command: TASK.command() };
        plan.step(Step::new("s0", op).attempts(kiln::Attempts { max: 2, backoff_ms: 0 }));
        let plan = plan.finish().unwrap();
        let build = BuildId::new("build").unwrap();
        let outcome = Outcome::Succeeded;
        let (owner, labels) = (Owner::local(), BTreeMap::new());
        let mut case = Self {
            sent: Sent { build, plan: plan.clone(), outcome: outcome.clone() },
            journal: Vec::new(),
            log: Vec::new(),
            ledgers: Ledgers::default(),
        };
        for event in [
            Event::Accepted { plan, owner, labels, by: None },
            adopted("one", "a"),
            started(1),
            adopted("two", "b"),
            started(2),
            succeeded(2),
            Event::Finished { outcome },
        ] {
            case.record(case.journal.len(), event);
        }
        case.print(1, "a", 2);
        case.print(2, "b", usize::MAX);
        case
    }

    /// Puts an event into the journal; those after it move on.
    fn record(&mut self, at: usize, event: Event) {
        self.journal.insert(at, Recorded { seq: Seq(0), at: Timestamp(0), event });
        for (seq, recorded) in (1..).zip(&mut self.journal) {
            recorded.seq = Seq(seq);
        }
    }

    fn key(&self, attempt: u8) -> StepKey {
        StepKey { build: self.sent.build.clone(), step: STEP, attempt }
    }

    /// Prints so many pieces of an attempt, as its node does.
    fn print(&mut self, attempt: u8, on: &str, pieces: usize) {
        let (key, on) = (self.key(attempt), node(on));
        let printing = TASK.printing(SEED, &key, &on);
        self.ledgers.begun.entry(key.clone()).or_default().insert(on.clone());
        for (stream, data) in printing.pieces.into_iter().take(pieces) {
            let body = LogBody::Bytes { stream, data: data.into() };
            self.log.push(LogRecord {
                at: Offset(0),
                time: Timestamp(0),
                step: STEP,
                attempt,
                body,
            });
        }
        if pieces == usize::MAX {
            self.ledgers.ended.insert((key, on), printing.hash);
        }
        self.line_up();
    }

    /// Gives every record of the log its place.
    fn line_up(&mut self) {
        let mut at = Offset(0);
        for record in &mut self.log {
            record.at = at;
            at = record.end();
        }
    }

    fn ended(&self) -> Ended<'_> {
        let Self { sent, journal, log, ledgers } = self;
        Ended { seed: SEED, sent, journal, log, ledgers }
    }

    /// The first piece of the attempt that ended.
    fn piece(&mut self) -> &mut LogRecord {
        self.log.iter_mut().find(|r| r.attempt == 2).unwrap()
    }
}

/// Breaks a sound build and expects a law to say so.
fn breaks(words: &str, law: impl Fn(&Ended<'_>), how: impl Fn(&mut Case)) {
    let mut case = Case::sound();
    law(&case.ended());
    how(&mut case);
    let checked = catch_unwind(AssertUnwindSafe(|| law(&case.ended())));
    let panic = checked.expect_err(words);
    let said = panic.downcast_ref::<String>().map_or("nothing", |s| s);
    assert!(said.contains(words), "expected {words:?}, and it said {said}");
}

fn whole(ended: &Ended<'_>) {
    ended.check(&mut Seen::default());
}

fn drivers(ended: &Ended<'_>) {
    ended.drivers(&mut Attempts::new(), &mut Seen::default());
}

#[test]
fn a_second_end_is_seen() {
    let finished = || Event::Finished { outcome: Outcome::Succeeded };
    breaks("ended 2 times", whole, |c| c.record(7, finished()));
    breaks("ended 0 times", whole, |c| drop(c.journal.pop()));
    breaks("another end", whole, |c| c.record(7, Event::StepDue { step: STEP }));
    breaks("another end", whole, |c| c.sent.outcome = Outcome::Failed { step: STEP });
    breaks("in its journal", whole, |c| c.journal[6].seq = Seq(9));
    breaks("in its journal", whole, |c| drop(c.journal.remove(3)));
    breaks("build: ", whole, |c| c.record(6, succeeded(2)));
}

#[test]
fn a_step_of_a_fenced_driver_is_seen() {
    breaks("a fenced driver wrote", drivers, |c| c.record(4, succeeded(1)));
    breaks("a fenced driver wrote", drivers, |c| c.record(6, succeeded(1)));
    breaks("adopted twice", drivers, |c| c.record(4, adopted("one", "b")));
    breaks("kept what was not there", drivers, |c| {
        let Event::Adopted { kept, .. } = &mut c.journal[3].event else { unreachable!() };
        kept.push(STEP);
    });
    let one_more = |attempt: u8, on: &'static str| {
        move |c: &mut Case| {
            let key = c.key(attempt);
            c.ledgers.begun.entry(key).or_default().insert(node(on));
        }
    };
    breaks("was performed by", whole, one_more(2, "a"));
    breaks("was performed by", whole, one_more(3, "b"));
}

#[test]
fn a_byte_that_is_wrong_is_seen() {
    let other = |data: &[u8]| {
        let mut data = data.to_vec();
        data[7] ^= 1;
        LogBody::Bytes { stream: Stream::Stdout, data: data.into() }
    };
    let change = |c: &mut Case, attempt| {
        let of = |r: &&mut LogRecord| {
            let out = matches!(r.body, LogBody::Bytes { stream: Stream::Stdout, .. });
            out && r.attempt == attempt
        };
        let record = c.log.iter_mut().find(of).unwrap();
        let LogBody::Bytes { data, .. } = &record.body else { unreachable!() };
        record.body = other(data);
    };
    breaks("the log is another one", whole, |c| change(c, 2));
    breaks("is not of a", whole, |c| change(c, 1));
    breaks("the log is another one", whole, |c| {
        let at = c.log.iter().position(|r| r.attempt == 2).unwrap();
        c.log.remove(at);
        c.line_up();
    });
    breaks("the log has another end", whole, |c| {
        c.log.pop();
    });
    breaks("the log has another end", whole, |c| c.print(2, "b", 1));
    breaks("a hole or a repeat", whole, |c| c.piece().at.0 += 1);
    breaks("Gap", whole, |c| {
        c.piece().body = LogBody::Gap { bytes: 1, why: "full".into() };
        c.line_up();
    });
    breaks("printed unstarted", whole, |c| {
        let record = LogRecord { attempt: 3, ..c.piece().clone() };
        c.log.push(record);
        c.line_up();
    });
    breaks("never ended on", whole, |c| c.ledgers.ended.clear());
}
