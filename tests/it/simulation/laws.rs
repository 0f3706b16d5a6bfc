//! What holds for every build, whatever happened to it.

use super::world::Ended;
use kiln::{
    BuildState, Event, FailureClass, Outcome, StepId, StepPhase, When,
    port::{LogBody, Stream},
};
use std::collections::{BTreeMap, BTreeSet};

/// Checks one build that is over.
pub(crate) fn check(ended: &Ended) {
    journal(ended);
    drivers(ended);
    fates(ended);
    log(ended);
    assert!(ended.log_closed, "the log is open");
    assert!(*ended.fate.sweeps.lock().unwrap() > 0, "nothing was swept");
    assert_eq!(ended.boxes_left, 0, "boxes or commands are left");
    assert_eq!(ended.workspaces_left, 0, "workspaces are left");
}

/// Every event follows from the ones before it, and what is over stays as it is.
fn journal(ended: &Ended) {
    let events: Vec<&Event> = ended.journal.iter().map(|r| &r.event).collect();
    let finished = |e: &&&Event| matches!(e, Event::Finished { .. });
    assert_eq!(events.iter().filter(finished).count(), 1);
    assert!(events.last().is_some_and(|e| finished(&e)), "`finished` is not the last");
    let mut state = BuildState::replay(events[..1].iter().copied()).unwrap();
    for event in &events[1..] {
        let before = state.clone();
        state.apply(event).unwrap();
        for id in ended.plan.ids() {
            if before.step(id).is_over() {
                assert_eq!(before.step(id), state.step(id), "a step that was over went on");
            }
        }
        if let Event::StepStarted { step, attempt } = event {
            let step = ended.plan.step(*step);
            assert!(step.needs.iter().all(|n| before.step(*n).is_over()), "too early: {event:?}");
            assert!(*attempt <= step.attempts.max, "too often: {event:?}");
            assert!(state.running().count() <= ended.slots, "too many at once: {event:?}");
            let spared = step.when == When::Always && !before.is_forced();
            assert!(before.stop_cause().is_none() || spared, "after a stop: {event:?}");
        }
    }
    for (i, recorded) in ended.journal.iter().enumerate() {
        assert_eq!(recorded.seq.0, i as u64 + 1);
        assert!(i == 0 || recorded.at >= ended.journal[i - 1].at, "time ran back");
    }
    let text = serde_json::to_string(&ended.journal).unwrap();
    let stored: Vec<kiln::Recorded> = serde_json::from_str(&text).unwrap();
    assert!(stored == ended.journal, "the journal does not survive storage");
}

/// Once another driver has the build, nothing of an earlier one is recorded.
fn drivers(ended: &Ended) {
    let written = ended.fate.written.lock().unwrap();
    let recorded: Vec<_> = ended.journal[1..].iter().map(|r| &r.event).collect();
    assert!(written.iter().map(|(_, e)| e).eq(recorded), "who wrote this?");
    let (mut driver, mut cancelling) = (0, BTreeSet::new());
    let mut adopted = BTreeSet::new();
    for (who, event) in &*written {
        match event {
            Event::Adopted { driver: id, .. } => {
                // Adopting twice would cost what runs an attempt.
                assert!(adopted.insert(id), "driver {who} adopted the build twice");
                driver = *who;
            }
            // A client may ask, and writes what follows from it in the same append.
            Event::CancelRequested { .. } => drop(cancelling.insert(*who)),
            _ => assert!(*who == driver || cancelling.contains(who), "fenced, and wrote {event:?}"),
        }
    }
}

/// The outcome is what the steps say, and after-steps ran.
fn fates(ended: &Ended) {
    let state = BuildState::replay(ended.journal.iter().map(|r| &r.event)).unwrap();
    let failed = |id: &StepId| {
        matches!(state.step(*id), StepPhase::Failed(_)) && !ended.plan.step(*id).may_fail
    };
    let first = ended.plan.ids().find(failed);
    match (state.outcome().unwrap(), state.stop_cause()) {
        (Outcome::Succeeded, None) => assert_eq!(first, None),
        (Outcome::Failed { step } | Outcome::Errored { step }, None) => {
            assert_eq!(first, Some(*step));
        }
        (Outcome::Cancelled, Some(kiln::CancelCause::Request)) => {}
        (Outcome::TimedOut, Some(kiln::CancelCause::Timeout)) => {}
        other => panic!("{other:?}"),
    }
    for id in ended.plan.ids() {
        let step = ended.plan.step(id);
        if step.when == When::Always && !state.is_forced() {
            assert_ne!(*state.step(id), StepPhase::Skipped, "after-step {id} was skipped");
        }
        if step.needs.is_empty() && step.when == When::Success && state.stop_cause().is_none() {
            assert_ne!(*state.step(id), StepPhase::Skipped, "step {id} was skipped");
        }
    }
}

/// Offsets leave no hole, and what an attempt printed is there once.
fn log(ended: &Ended) {
    let mut at = 0;
    let mut printed: BTreeMap<(StepId, u8), [Vec<u8>; 2]> = BTreeMap::new();
    for record in &ended.log {
        assert_eq!(record.at.0, at, "the log has a hole or a repeat");
        at = record.end().0;
        let of = printed.entry((record.step, record.attempt)).or_default();
        match &record.body {
            LogBody::Bytes { stream: Stream::Stdout, data } => of[0].extend_from_slice(&data[..]),
            LogBody::Bytes { stream: Stream::Stderr, data } => of[1].extend_from_slice(&data[..]),
            LogBody::Gap { .. } => panic!("a gap, and nothing was out of reach for long"),
            _ => {}
        }
    }
    for recorded in &ended.journal {
        let (step, attempt, whole) = match &recorded.event {
            Event::StepSucceeded { step, attempt, .. } => (*step, *attempt, true),
            Event::StepFailed { step, attempt, failure } => {
                let itself = [FailureClass::User, FailureClass::Infra].contains(&failure.class);
                (*step, *attempt, itself && failure.kind != kiln::ErrorKind::Cancelled)
            }
            _ => continue,
        };
        let Some(script) = &ended.scripts[step.index()] else { continue };
        let logged = printed.remove(&(step, attempt)).unwrap_or_default();
        let times = ended.fate.performed.lock().unwrap();
        let times = times.iter().filter(|(_, k)| (k.step, k.attempt) == (step, attempt)).count();
        if times > 1 && ended.overlapped {
            // Two drivers that live at once may both print until one learns that it is fenced.
            continue;
        }
        for (logged, expected) in logged.iter().zip(&script.prints) {
            let logged = String::from_utf8_lossy(logged);
            let what = format!("step {step} attempt {attempt}, performed {times} times");
            if whole && !script.hangs {
                assert_eq!(logged, *expected, "{what}");
            } else {
                assert!(expected.starts_with(&*logged), "{what}: {logged:?} of {expected:?}");
            }
        }
    }
}
