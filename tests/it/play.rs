//! Plans, fates and journals as one line of text each.

use kiln::{
    Attempts, BoxName, BoxSpec, BuildState, CancelCause, DriverId, Event, Failure, FailureClass,
    ImageRef, NodeId, Op, Outcome, Output, Owner, Plan, RelPath, Revision, Step, StepId, StepPhase,
    When, plan, state::Command,
};
use std::collections::BTreeMap;

/// `"a; b<a; c<a,b @always ?; d #2 ~500"`: what each step needs, `@when`, `?` may fail, `#n`
/// attempts, `~n` milliseconds of backoff, `*` asks for a plan.
pub(crate) fn plan(text: &str) -> Plan {
    plan_in("main", text)
}

/// The same, with its commands in a box of this name.
pub(crate) fn plan_in(in_box: &str, text: &str) -> Plan {
    let mut plan = Plan::builder();
    let in_box = BoxName::new(in_box).unwrap();
    plan.add_box(in_box.clone(), BoxSpec::new(ImageRef::parse("busybox").unwrap()));
    let mut names = BTreeMap::new();
    for line in text.split(';') {
        let mut words = line.split_whitespace();
        let (name, needs) = words.next().map(|w| w.split_once('<').unwrap_or((w, ""))).unwrap();
        let command = plan::Command::new(["true"]);
        let mut step = Step::new(name, Op::Exec { in_box: in_box.clone(), command });
        for need in needs.split(',').filter(|n| !n.is_empty()) {
            step = step.after(names[need]);
        }
        for word in words {
            match (&word[..1], &word[1..]) {
                ("?", _) => step = step.may_fail(),
                ("*", _) => {
                    let (path, settings) = (RelPath::root(), serde_json::Value::Null);
                    step.op = Op::Plan { planner: "words".into(), path, settings };
                }
                ("@", "always") => step = step.when(When::Always),
                ("@", "failure") => step = step.when(When::Failure),
                ("#", n) => step.attempts = Attempts { max: n.parse().unwrap(), backoff_ms: 0 },
                ("~", n) => step.attempts.backoff_ms = n.parse().unwrap(),
                _ => panic!("`{word}` says nothing of a step"),
            }
        }
        names.insert(name.to_owned(), plan.step(step));
    }
    plan.finish().unwrap()
}

/// One build that is played by words.
pub(crate) struct Game {
    pub(crate) state: BuildState,
    pub(crate) journal: Vec<Event>,
    slots: usize,
    said: Vec<String>,
}

impl Game {
    /// A build that a driver has just taken.
    pub(crate) fn new(steps: &str, slots: usize) -> Self {
        let plan = plan(steps);
        let (owner, labels) = (Owner::local(), BTreeMap::new());
        let accepted = Event::Accepted {
            plan: plan.clone(),
            owner: owner.clone(),
            labels: labels.clone(),
            by: None,
        };
        let state = BuildState::accepted(plan, owner, labels);
        Self { state, journal: vec![accepted], slots, said: Vec::new() }
    }

    fn step(&self, name: &str) -> StepId {
        self.state.plan().find(name).unwrap_or_else(|| panic!("there is no step `{name}`"))
    }

    fn attempt(&self, name: &str) -> u8 {
        match self.state.step(self.step(name)) {
            StepPhase::Running { attempt, .. } => *attempt,
            other => panic!("`{name}` does not run: {other:?}"),
        }
    }

    /// Plays `word`: `take take(a,b)` a driver comes (and keeps steps), `cancel cancel! deadline`,
    /// `late(a)` its time is over, `due(a)` its wait is, `pin(a,rev)`, and `a=how` it ends; with a
    /// plan in brackets, `_` for blanks, it has asked for that.
    pub(crate) fn play(&mut self, word: &str) {
        let command = self.command(word);
        let events = self.state.decide(command).unwrap_or_else(|e| panic!("{word}: {e}"));
        for event in events {
            self.write(event);
        }
        for event in self.state.advance(self.slots) {
            self.write(event);
        }
        assert_eq!(self.state.advance(self.slots), [], "it settles in one call");
    }

    pub(crate) fn command(&self, word: &str) -> Command {
        let (verb, arguments) = word.split_once('(').unwrap_or((word, ")"));
        let arguments: Vec<&str> =
            arguments.trim_end_matches(')').split(',').filter(|a| !a.is_empty()).collect();
        let cancel =
            |cause, force| Command::Cancel { cause, reason: String::new(), force, by: None };
        match verb {
            "take" => Command::Adopt {
                driver: DriverId::random(),
                node: NodeId::new("n").unwrap(),
                kept: arguments.iter().map(|n| self.step(n)).collect(),
            },
            "cancel" => cancel(CancelCause::Request, false),
            "cancel!" => cancel(CancelCause::Request, true),
            "deadline" => cancel(CancelCause::Timeout, false),
            "late" => {
                let (step, attempt) = (self.step(arguments[0]), self.attempt(arguments[0]));
                Command::TimeOut { step, attempt }
            }
            "due" => Command::Due { step: self.step(arguments[0]) },
            "pin" => {
                let (step, attempt) = (self.step(arguments[0]), self.attempt(arguments[0]));
                let revision = Revision { id: arguments[1].into(), reference: None };
                Command::Pin { step, attempt, revision }
            }
            _ => {
                let (name, how) =
                    word.split_once('=').unwrap_or_else(|| panic!("what is `{word}`?"));
                let (step, attempt) = (self.step(name), self.attempt(name));
                Command::Complete { step, attempt, result: result(how) }
            }
        }
    }

    fn write(&mut self, event: Event) {
        self.state.apply(&event).unwrap();
        self.said.push(self.say(&event));
        self.journal.push(event);
    }

    fn say(&self, event: &Event) -> String {
        let name = |id: &StepId| self.state.plan().step(*id).name.clone();
        match event {
            Event::Accepted { .. } => "accept".into(),
            Event::Adopted { kept, .. } if kept.is_empty() => "take".into(),
            Event::Adopted { kept, .. } => {
                format!("take({})", kept.iter().map(name).collect::<Vec<_>>().join(","))
            }
            Event::StepReused { step, .. } => format!("={}", name(step)),
            Event::StepStarted { step, attempt: 1 } => format!("+{}", name(step)),
            Event::StepStarted { step, attempt } => format!("+{}#{attempt}", name(step)),
            Event::StepPinned { step, revision, .. } => {
                format!("pin({},{})", name(step), revision.id)
            }
            Event::StepTimedOut { step, .. } => format!("late({})", name(step)),
            Event::StepSucceeded { step, .. } => format!("{}✓", name(step)),
            Event::StepFailed { step, failure, .. } => match failure.class {
                FailureClass::User => format!("{}✗", name(step)),
                class => format!("{}✗{}", name(step), format!("{class:?}").to_lowercase()),
            },
            Event::StepDue { step } => format!("due({})", name(step)),
            Event::StepSkipped { step } => format!("-{}", name(step)),
            Event::CancelRequested { cause: CancelCause::Timeout, .. } => "deadline".into(),
            Event::CancelRequested { force: true, .. } => "cancel!".into(),
            Event::CancelRequested { .. } => "cancel".into(),
            Event::Finished { outcome } => match outcome {
                Outcome::Failed { step } => format!("failed({})", name(step)),
                Outcome::Errored { step } => format!("errored({})", name(step)),
                other => other.word().into(),
            },
            other => format!("{other:?}"),
        }
    }
}

fn result(how: &str) -> Result<Box<Output>, Failure> {
    let mut failure = match how {
        "ok" => return Ok(Box::default()),
        _ if how.starts_with('[') => {
            let plan = plan_in("pipeline", &how.trim_matches(['[', ']']).replace('_', " "));
            return Ok(Box::new(Output { plan: Some(plan), ..Output::default() }));
        }
        "user" => Failure::new(FailureClass::User, "no"),
        "infra" | "full" => Failure::new(FailureClass::Infra, "broken"),
        "stopped" => Failure::new(FailureClass::Cancelled, "stopped"),
        _ => panic!("how is `{how}`?"),
    };
    if how == "full" {
        failure.kind = kiln::ErrorKind::Exhausted;
    }
    Err(failure)
}

/// Plays a fate and compares the journal, with so many steps side by side.
#[track_caller]
pub(crate) fn check_slots(slots: usize, steps: &str, fate: &str, journal: &str) {
    let mut game = Game::new(steps, slots);
    for word in fate.split_whitespace() {
        game.play(word);
    }
    assert_eq!(game.said.join(" "), journal, "\n{steps}\n{fate}");
    assert_eq!(BuildState::replay(&game.journal).unwrap(), game.state, "the journal is the state");
    let text = serde_json::to_string(&game.journal).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Event>>(&text).unwrap(), game.journal);
}

/// Plays a fate after a driver took the build, and compares the journal that follows.
#[track_caller]
pub(crate) fn check(steps: &str, fate: &str, journal: &str) {
    check_slots(9, steps, &format!("take {fate}"), &format!("take {journal}"));
}
