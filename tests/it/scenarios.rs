//! One line of plan, one of fate, one of journal: what the state does, and why.
//!
//! The words are explained in `play.rs`. Read these before reading the state.

use crate::play::{Game, check, check_slots};
use kiln::{
    BuildState, Event, Failure, FailureClass, Outcome, Output, Revision, StepId,
    state::{Command, Refusal},
};

#[test]
fn steps_run_when_their_needs_are_over() {
    check("a; b; c<a,b", "b=ok a=ok c=ok", "+a +b b✓ a✓ +c c✓ succeeded");
    check("a; b<a; c<b", "a=ok b=ok c=ok", "+a a✓ +b b✓ +c c✓ succeeded");
}

#[test]
fn nothing_runs_before_a_driver_has_the_build() {
    check_slots(9, "a", "cancel", "cancel -a cancelled");
    check_slots(9, "a; n @always", "cancel take n=ok", "cancel -a take +n n✓ cancelled");
}

#[test]
fn only_so_many_steps_run_side_by_side() {
    check_slots(1, "a; b", "take a=ok b=ok", "take +a a✓ +b b✓ succeeded");
    check_slots(2, "a; b; c", "take b=ok a=ok c=ok", "take +a +b b✓ +c a✓ c✓ succeeded");
    check_slots(0, "a; b", "take a=ok b=ok", "take +a a✓ +b b✓ succeeded");
    // A delayed step holds no slot.
    check_slots(
        1,
        "a #2 ~5; b",
        "take a=infra b=ok due(a) a=ok",
        "take +a a✗infra +b b✓ due(a) +a#2 a✓ succeeded",
    );
}

#[test]
fn a_failure_skips_what_needs_it_and_nothing_else() {
    check("a; b<a; c<b; d", "a=user d=ok", "+a +d a✗ -b -c d✓ failed(a)");
}

#[test]
fn the_first_failure_of_the_plan_is_the_builds() {
    check("a; b", "b=user a=infra", "+a +b b✗ a✗infra errored(a)");
    check("a; b", "b=infra a=user", "+a +b b✗infra a✗ failed(a)");
    check("a ?; b", "a=infra b=user", "+a +b a✗infra b✗ failed(b)");
}

#[test]
fn after_steps_run_whatever_happens() {
    check("a; b<a; n<b @always", "a=user n=ok", "+a a✗ -b +n n✓ failed(a)");
    check("a; n<a @always", "a=ok n=ok", "+a a✓ +n n✓ succeeded");
    check("a; n<a @always", "a=ok n=user", "+a a✓ +n n✗ failed(n)");
}

#[test]
fn a_need_is_judged_by_its_own_fate() {
    check("a; c<a @always; p<c", "a=user c=ok p=ok", "+a a✗ +c c✓ +p p✓ failed(a)");
    check("a; c<a @always; p<c,a", "a=user c=ok", "+a a✗ +c c✓ -p failed(a)");
}

#[test]
fn failure_steps_run_only_on_failure() {
    check("a; f<a @failure", "a=ok", "+a a✓ -f succeeded");
    check("a; f<a @failure", "a=user f=ok", "+a a✗ +f f✓ failed(a)");
    check("a; b<a; f<b @failure", "a=user f=ok", "+a a✗ -b +f f✓ failed(a)");
    check("f @failure", "", "-f succeeded");
}

#[test]
fn a_handler_that_had_nothing_to_handle_is_no_failure() {
    check("a; f<a @failure; b<f", "a=ok b=ok", "+a a✓ -f +b b✓ succeeded");
    check("a; f<a @failure; g<f @failure", "a=ok", "+a a✓ -f -g succeeded");
    check("a; f<a @failure; g<f @failure", "a=user f=user g=ok", "+a a✗ +f f✗ +g g✓ failed(a)");
}

#[test]
fn a_step_that_may_fail_hides_its_failure() {
    check("a ?; b<a", "a=user b=ok", "+a a✗ +b b✓ succeeded");
    check("a ?; f<a @failure", "a=user", "+a a✗ -f succeeded");
    check("a; b<a ?; c<b", "a=user", "+a a✗ -b -c failed(a)");
}

#[test]
fn the_users_failure_is_not_tried_again() {
    check("a #3", "a=user", "+a a✗ failed(a)");
}

#[test]
fn our_failure_is_tried_again_in_bounds() {
    check("a #2", "a=infra a=infra", "+a a✗infra +a#2 a✗infra errored(a)");
    check("a #2", "a=infra a=ok", "+a a✗infra +a#2 a✓ succeeded");
    check("a #3", "a=infra a=user", "+a a✗infra +a#2 a✗ failed(a)");
    check("a", "a=infra", "+a a✗infra errored(a)");
}

#[test]
fn what_does_not_pass_by_itself_is_not_tried_again() {
    check("a #3", "a=full", "+a a✗infra errored(a)");
}

#[test]
fn between_attempts_a_step_waits() {
    let last = "+a a✗infra due(a) +a#2 a✗infra due(a) +a#3 a✓ succeeded";
    check("a #3 ~5", "a=infra due(a) a=infra due(a) a=ok", last);
    check("a #2 ~5; b<a", "a=infra due(a) a=infra", "+a a✗infra due(a) +a#2 a✗infra -b errored(a)");
}

#[test]
fn a_late_step_is_stopped_and_not_tried_again() {
    check("a #3", "late(a) a=stopped", "+a late(a) a✗timeout failed(a)");
    check("a #3", "late(a) a=infra", "+a late(a) a✗timeout failed(a)");
    check("a", "late(a) late(a) a=ok", "+a late(a) a✓ succeeded");
    check("a; n<a @always", "late(a) a=stopped n=ok", "+a late(a) a✗timeout +n n✓ failed(a)");
}

#[test]
fn a_crash_costs_one_attempt() {
    check("a #2; b<a", "take a=ok b=ok", "+a take +a#2 a✓ +b b✓ succeeded");
    check("a", "take", "+a take errored(a)");
    check("a #2", "take take", "+a take +a#2 take errored(a)");
}

#[test]
fn a_crash_keeps_what_the_runtime_still_has() {
    check("a; b #2", "take(a) a=ok b=ok", "+a +b take(a) +b#2 a✓ b✓ succeeded");
    check("a; b<a", "take(a,b) a=ok b=ok", "+a take(a) a✓ +b b✓ succeeded");
    check("a", "late(a) take(a) a=stopped", "+a late(a) take(a) a✗timeout failed(a)");
}

#[test]
fn whoever_takes_over_waits_no_longer() {
    check("a #2 ~5", "a=infra take a=ok", "+a a✗infra take +a#2 a✓ succeeded");
    check("a #2 ~5", "take a=ok", "+a take +a#2 a✓ succeeded");
}

#[test]
fn cancel_stops_what_runs_and_starts_only_after_steps() {
    check(
        "a; b; c<a; n<c @always",
        "cancel a=ok b=stopped n=ok",
        "+a +b cancel -c +n a✓ b✗cancelled n✓ cancelled",
    );
    check("a; f<a @failure", "cancel a=stopped", "+a cancel -f a✗cancelled cancelled");
}

#[test]
fn who_made_it_in_the_last_moment_made_it() {
    check("a; b<a", "cancel a=ok", "+a cancel -b a✓ cancelled");
}

#[test]
fn cancel_ends_attempts_but_for_after_steps() {
    check("a #3", "cancel a=infra", "+a cancel a✗infra cancelled");
    check("a #3 ~5", "a=infra cancel", "+a a✗infra cancel -a cancelled");
    check("n #2 @always", "cancel n=infra n=ok", "+n cancel n✗infra +n#2 n✓ cancelled");
    check(
        "n #2 ~5 @always",
        "n=infra cancel due(n) n=ok",
        "+n n✗infra cancel due(n) +n#2 n✓ cancelled",
    );
    check("a #2", "cancel take", "+a cancel take cancelled");
}

#[test]
fn a_forced_cancel_stops_after_steps_too() {
    check("a; n<a @always", "cancel! a=stopped", "+a cancel! -n a✗cancelled cancelled");
    check("n @always", "cancel cancel! n=stopped", "+n cancel cancel! n✗cancelled cancelled");
    check("n #2 ~5 @always", "n=infra cancel!", "+n n✗infra cancel! -n cancelled");
    check("n #2 @always", "cancel! n=infra", "+n cancel! n✗infra cancelled");
    check("a", "cancel! cancel a=stopped", "+a cancel! a✗cancelled cancelled");
}

#[test]
fn asking_twice_says_nothing_twice() {
    check("a", "cancel cancel deadline a=ok", "+a cancel a✓ cancelled");
}

#[test]
fn the_time_of_the_build_ends_it_as_a_cancel_does() {
    check("a; n<a @always", "deadline a=stopped n=ok", "+a deadline a✗timeout +n n✓ timed_out");
    check("a", "deadline cancel a=stopped", "+a deadline a✗timeout timed_out");
    check("a", "deadline cancel! a=stopped", "+a deadline cancel! a✗timeout timed_out");
    check("a; b<a", "deadline a=user", "+a deadline -b a✗ timed_out");
}

#[test]
fn who_stops_without_being_asked_is_our_fault() {
    check("a #2", "a=stopped a=ok", "+a a✗infra +a#2 a✓ succeeded");
    check("n @always", "cancel n=stopped", "+n cancel n✗infra cancelled");
}

#[test]
fn a_step_is_pinned_once_for_all_its_attempts() {
    check("a #2", "pin(a,one) a=infra pin(a,two) a=ok", "+a pin(a,one) a✗infra +a#2 a✓ succeeded");
    let mut game = Game::new("a #2", 1);
    for word in ["take", "pin(a,one)", "take"] {
        game.play(word);
    }
    assert_eq!(game.state.pin(StepId(0)).unwrap().id, "one");
}

#[test]
fn who_has_to_stop_is_told() {
    let stops = |fate: &str| {
        let mut game = Game::new("a; n @always", 9);
        fate.split_whitespace().for_each(|word| game.play(word));
        [0, 1].map(|id| game.state.must_stop(StepId(id)))
    };
    assert_eq!(stops("take"), [false, false]);
    assert_eq!(stops("take late(n)"), [false, true]);
    assert_eq!(stops("take cancel"), [true, false]);
    assert_eq!(stops("take deadline"), [true, false]);
    assert_eq!(stops("take cancel!"), [true, true]);
    assert_eq!(stops("take cancel a=ok"), [false, false]);
}

#[test]
fn a_late_word_is_refused() {
    let mut game = Game::new("a #2 ~5", 1);
    game.play("take");
    let late = game.command("a=ok");
    let late_pin = game.command("pin(a,x)");
    game.play("a=infra");
    let refused = |game: &Game, command: Command| game.state.decide(command).unwrap_err();
    let (step, attempt) = (StepId(0), 1);
    let not_running = Refusal::NotRunning { step, attempt };
    assert_eq!(refused(&game, late.clone()), not_running);
    let due = game.command("due(a)");
    game.play("due(a)");
    assert_eq!(refused(&game, due), Refusal::NotDelayed { step });
    assert_eq!(refused(&game, late.clone()), not_running);
    assert_eq!(refused(&game, late_pin), not_running);
    assert_eq!(refused(&game, Command::TimeOut { step, attempt }), not_running);
    game.play("a=ok");
    for command in [late, game.command("cancel"), game.command("cancel!"), game.command("take")] {
        assert_eq!(refused(&game, command), Refusal::Finished);
    }
}

/// Every journal of a few events, then one that cannot follow: it is refused and changes nothing.
#[test]
fn an_event_that_cannot_follow_changes_nothing() {
    let mut game = Game::new("a #3; b<a", 1);
    let accepted = game.journal[0].clone();
    game.play("take");
    let (taken, started) = (game.journal[1].clone(), game.journal[2].clone());
    let (step, attempt) = (StepId(0), 1);
    let starts = |step, attempt| Event::StepStarted { step, attempt };
    let done = |attempt| Event::StepSucceeded { step, attempt, output: Box::<Output>::default() };
    let failure = Failure::new(FailureClass::User, "");
    let failed = |attempt| Event::StepFailed { step, attempt, failure: failure.clone() };
    let pinned = |id: &str| {
        let revision = Revision { id: id.into(), reference: None };
        Event::StepPinned { step, attempt, revision }
    };
    let late = Event::StepTimedOut { step, attempt };
    let skipped = |step| Event::StepSkipped { step };
    let end = Event::Finished { outcome: Outcome::Succeeded };
    let stray = StepId(9);
    let kept = match &taken {
        Event::Adopted { driver, node, .. } => {
            Event::Adopted { driver: driver.clone(), node: node.clone(), kept: vec![StepId(1)] }
        }
        other => panic!("{other:?}"),
    };
    let cancel = |force| Event::CancelRequested {
        cause: kiln::CancelCause::Request,
        reason: String::new(),
        force,
        by: None,
    };
    let a = vec![accepted.clone()];
    let t = vec![accepted.clone(), taken.clone()];
    let r = [t.clone(), vec![started.clone()]].concat();
    let with = |event: Event| [r.clone(), vec![event]].concat();
    let over = [t.clone(), vec![skipped(step), skipped(StepId(1)), end.clone()]].concat();
    let cases = [
        (a.clone(), vec![accepted.clone(), started.clone(), end.clone(), skipped(stray)]),
        (t.clone(), vec![done(1), failed(1), pinned("x"), late.clone(), starts(step, 2)]),
        (t, vec![starts(stray, 1), Event::StepDue { step }, kept.clone(), end.clone()]),
        (r.clone(), vec![started, starts(step, 2), done(2), failed(0), skipped(step), kept]),
        // Lost with its driver: the next attempt is the second one.
        (with(taken.clone()), vec![starts(step, 1), starts(step, 3), done(1), late.clone()]),
        (with(late.clone()), vec![late, end.clone()]),
        (with(pinned("x")), vec![pinned("y")]),
        (with(done(1)), vec![done(1), failed(1), skipped(step), starts(step, 2)]),
        (with(cancel(false)), vec![cancel(false)]),
        (with(cancel(true)), vec![cancel(true), cancel(false)]),
        (over, vec![accepted, taken, cancel(true), end, skipped(step)]),
    ];
    for (journal, bad) in cases {
        let state = BuildState::replay(&journal).unwrap();
        for event in bad {
            let mut now = state.clone();
            assert!(now.apply(&event).is_err(), "{event:?}\nafter {journal:?}");
            assert_eq!(now, state, "{event:?} was refused and changed something");
        }
    }
    assert!(BuildState::replay(&[]).is_err());
    assert!(BuildState::replay(&r[1..]).is_err());
}
