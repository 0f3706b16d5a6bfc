//! Builds of an outage: what they are made of, and how each has to have ended.

use crate::base::BASE;
use kiln::{
    Attempts, BoxName, BoxSpec, BuildId, Command, Event, ImageRef, Op, Outcome, Plan, Recorded,
    RelPath, SourceSpec, Step, StepId,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, Instant},
};

/// What is fetched, and kept again at the end.
pub(crate) const KEPT: &str = "kept by a build";

/// A build that was submitted.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    pub(crate) id: BuildId,
    /// What each step prints.
    printed: Vec<String>,
}

/// What a build is to do: to fetch, to print for so many tenths of a second in each step, to keep.
#[derive(Clone, Debug)]
pub(crate) struct Shape(pub(crate) Vec<u64>);

/// Those that are submitted before an outage: some end in it, some have steps that begin in it.
pub(crate) fn shapes(outage: Duration) -> Vec<Shape> {
    let tenths = outage.as_millis() as u64 / 100;
    vec![
        Shape(vec![20]),
        Shape(vec![tenths / 2 + 10]),
        Shape(vec![tenths + 50]),
        Shape(vec![15, 10, 10, tenths / 2]),
    ]
}

impl Shape {
    /// One attempt for every step: what is lost would fail the build.
    pub(crate) fn plan(&self, source: &str) -> Plan {
        let (mut plan, name) = (Plan::builder(), BoxName::new("main").unwrap());
        plan.add_box(name.clone(), BoxSpec::new(ImageRef::parse(BASE).unwrap()));
        let path = |text| RelPath::new(text).unwrap();
        let fetch = Op::Fetch { source: SourceSpec::new(source), into: path("source") };
        let mut last = plan.step(Step::new("fetch", fetch).attempts(Attempts::ONE));
        for (n, tenths) in self.0.iter().enumerate() {
            let (script, _) = printing(*tenths);
            let exec = Op::Exec { in_box: name.clone(), command: Command::script(script) };
            last = plan.step(Step::new(format!("run{n}"), exec).after(last));
        }
        let keep = Op::Upload { path: path("source/file"), name: path("kept") };
        plan.step(Step::new("keep", keep).after(last));
        plan.finish().unwrap()
    }

    pub(crate) fn submitted(&self, id: BuildId) -> Build {
        Build { id, printed: self.0.iter().map(|tenths| printing(*tenths).1).collect() }
    }
}

/// A command that prints for so many tenths of a second, and what it prints.
fn printing(tenths: u64) -> (String, String) {
    let lines = tenths * 3;
    let script = format!(
        "i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo \"line $i of a command that goes on\"; \
         [ $((i % 3)) != 0 ] || sleep 0.1; done"
    );
    let mut printed = String::new();
    for i in 1..=lines {
        writeln!(printed, "line {i} of a command that goes on").unwrap();
    }
    (script, printed)
}

impl Build {
    /// Checks that it ended once, and that no step was begun a second time.
    pub(crate) fn check_journal(&self, journal: &[Recorded]) {
        let finished = Event::Finished { outcome: Outcome::Succeeded };
        assert_eq!(journal.last().map(|r| &r.event), Some(&finished), "{journal:#?}");
        let ends = journal.iter().filter(|r| matches!(r.event, Event::Finished { .. })).count();
        assert_eq!(ends, 1, "{journal:#?}");
        let mut begun: BTreeMap<StepId, u32> = BTreeMap::new();
        for recorded in journal {
            if let Event::StepStarted { step, .. } = recorded.event {
                *begun.entry(step).or_default() += 1;
            }
        }
        // A fetch, the commands, an upload.
        assert_eq!(begun.len(), self.printed.len() + 2, "{journal:#?}");
        assert!(begun.values().all(|times| *times == 1), "{journal:#?}");
    }

    /// Checks that every byte is there that a step printed, once and in its place.
    pub(crate) fn check_log(&self, log: &[Value]) {
        let mut at = 0;
        let mut printed: BTreeMap<u64, String> = BTreeMap::new();
        for record in log {
            assert_eq!(record["at"], at, "a gap or a repeat: {record}");
            at = record["next"].as_u64().unwrap();
            assert_ne!(record["type"], "gap", "{record}");
            if record["type"] == "output" && record["stream"] == "stdout" {
                let text = record["text"].as_str().unwrap();
                printed.entry(record["step"].as_u64().unwrap()).or_default().push_str(text);
            }
        }
        for (step, expected) in (1..).zip(&self.printed) {
            let found = printed.get(&step).map_or("", String::as_str);
            assert!(found == expected, "{} step {step}: the log is another one", self.id);
        }
    }
}

/// Waits in vain no longer than this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience(Instant, Duration);

impl Patience {
    pub(crate) fn of(time: Duration) -> Self {
        Self(Instant::now(), time)
    }

    /// Panics when it is over, with what is known.
    pub(crate) fn expect(&self, what: impl FnOnce() -> String) {
        assert!(self.0.elapsed() < self.1, "{}", what());
    }
}
