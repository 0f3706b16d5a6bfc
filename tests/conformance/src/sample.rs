//! Things to store: one of each kind, with texts that are hard to keep.

use kiln::{
    Actor, BoxName, BoxSpec, BuildId, BuildSpec, CancelCause, Command, DriverId, Event, Failure,
    FailureClass, ImageRef, NodeId, Op, Outcome, Output, Owner, Plan, Recipe, Revision, Seq, Step,
    StepId, Timestamp, When,
    port::{BuildSummary, Entry, Job, Node},
    state::Phase,
};
use std::collections::BTreeMap;

/// A text with everything in it that quoting gets wrong.
pub const TEXT: &str = "it's \"half\" 100% \\ _ \u{1F525} é\u{0} \r\n\t'; DROP TABLE builds; --";

/// A build of this name.
pub fn build(name: &str) -> BuildId {
    BuildId::new(name).expect("a name in a test is an id")
}

/// An owner of this name.
pub fn owner(name: &str) -> Owner {
    Owner::new(name).expect("a name in a test is an id")
}

/// An image of this name.
pub fn image(name: &str) -> ImageRef {
    ImageRef::parse(name).expect("a name in a test is an image reference")
}

/// A plan of two steps, a box and a text that is hard to keep.
pub fn plan() -> Plan {
    let mut plan = Plan::builder();
    let name = BoxName::new("main").expect("a name in a test is an id");
    plan.add_box(name.clone(), BoxSpec::new(image("busybox:latest")));
    let build = BuildSpec::new(Recipe::Inline { text: TEXT.into() });
    let first = plan.step(Step::build("build", build));
    let exec = Op::Exec { in_box: name, command: Command::new(["echo", TEXT]) };
    plan.step(Step::new("say", exec).after(first).when(When::Always));
    plan.finish().expect("a plan in a test is one")
}

fn actor() -> Actor {
    Actor { owner: Owner::local(), name: Some(TEXT.into()) }
}

/// The first event of a journal.
pub fn accepted() -> Event {
    let labels = BTreeMap::from([("why".to_owned(), TEXT.to_owned())]);
    Event::Accepted { plan: plan(), owner: Owner::local(), labels, by: Some(actor()) }
}

/// The last event of a journal.
pub fn finished() -> Event {
    Event::Finished { outcome: Outcome::Failed { step: StepId(0) } }
}

/// One event of each kind; not a journal that makes sense.
pub fn events() -> Vec<Event> {
    let (step, attempt) = (StepId(1), 3);
    let revision = Revision { id: "f00".into(), reference: Some(TEXT.into()) };
    let mut failure = Failure::new(FailureClass::User, TEXT);
    (failure.hint, failure.exit_code) = (Some(TEXT.into()), Some(-1));
    let notes = BTreeMap::from([(TEXT.to_owned(), String::new())]);
    let output = Output { revision: Some(revision.clone()), notes, ..Output::default() };
    let driver = DriverId::new("d-1").expect("a name in a test is an id");
    let node = NodeId::new("n.1").expect("a name in a test is an id");
    vec![
        accepted(),
        Event::Adopted { driver, node: node.clone(), kept: vec![StepId(0), step] },
        Event::StepReused {
            step,
            of: build("former"),
            output: Box::new(output.clone()),
            node: Some(node.clone()),
        },
        Event::StepStarted { step, attempt },
        Event::StepPinned { step, attempt, revision },
        Event::StepTimedOut { step, attempt },
        Event::StepSucceeded { step, attempt, output: Box::new(output) },
        Event::StepFailed { step, attempt, failure },
        Event::StepDue { step },
        Event::StepSkipped { step },
        Event::CancelRequested {
            cause: CancelCause::Timeout,
            reason: TEXT.into(),
            force: true,
            by: Some(actor()),
        },
        finished(),
    ]
}

/// Events to append, written at 1, 2, 3 …
pub fn entries(events: impl IntoIterator<Item = Event>) -> Vec<Entry> {
    let entry = |(i, event)| Entry { at: Timestamp(i as u64 + 1), event };
    events.into_iter().enumerate().map(entry).collect()
}

/// So many events of a journal that goes on.
pub fn more(count: usize) -> Vec<Entry> {
    entries((0..count).map(|i| Event::StepStarted { step: StepId(i as u16), attempt: 1 }))
}

/// What a list shows of a running build.
pub fn summary(name: &str, accepted_at: u64) -> BuildSummary {
    BuildSummary {
        build: build(name),
        seq: Seq(1),
        owner: Owner::local(),
        labels: BTreeMap::new(),
        phase: Phase::Running,
        outcome: None,
        accepted_at: Timestamp(accepted_at),
        finished_at: None,
        steps: 2,
        steps_over: 1,
    }
}

/// A node with so many slots and nothing else.
pub fn node(name: &str, slots: u16) -> Node {
    Node {
        id: NodeId::new(name).expect("a name in a test is an id"),
        labels: BTreeMap::new(),
        slots,
        resources: kiln::Resources::default(),
        drained: false,
        seen_at: Timestamp(1),
    }
}

/// A job of an owner.
pub fn job(name: &str, whose: &str) -> Job {
    Job::new(build(name), owner(whose))
}
