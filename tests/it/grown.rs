//! Plans that grow while they run: a plan, its fate, and the journal that follows.

use crate::play::{Game, check, check_slots, plan, plan_in};
use kiln::{
    BuildId, BuildState, DriverId, ErrorKind, Event, NodeId, Outcome, Output, Owner, Phase, Plan,
    PlanError, Step, StepId, StepPhase, When,
};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};

#[test]
fn what_a_planner_answers_follows_it() {
    check("f; p<f *", "f=ok p=[a;b<a] a=ok b=ok", "+f f✓ +p p✓ +a a✓ +b b✓ succeeded");
    check("p *", "p=[a;b] a=ok b=ok", "+p p✓ +a +b a✓ b✓ succeeded");
    check_slots(
        1,
        "p *; z<p",
        "take p=[a;b<a] z=ok a=ok b=ok",
        "take +p p✓ +z z✓ +a a✓ +b b✓ succeeded",
    );
    // Whose need is the plan step alone does not wait for what it brought.
    check("p *; z<p", "p=[a] z=ok a=ok", "+p p✓ +z +a z✓ a✓ succeeded");
}

#[test]
fn a_grown_plan_fails_stops_and_has_after_steps_as_any_other() {
    let grown = "p=[a;b<a;n<a,b_@always_?;r<a,b_@failure]";
    check("p *", &format!("{grown} a=user n=ok r=ok"), "+p p✓ +a a✗ -b +n +r n✓ r✓ failed(a)");
    check(
        "p *",
        &format!("{grown} cancel a=stopped n=ok"),
        "+p p✓ +a cancel -b -r a✗cancelled +n n✓ cancelled",
    );
    check(
        "p *",
        &format!("{grown} cancel! a=stopped"),
        "+p p✓ +a cancel! -b -n -r a✗cancelled cancelled",
    );
    check("p * #2", "p=infra p=[a] a=ok", "+p p✗infra +p#2 p✓ +a a✓ succeeded");
    check("p *; n<p @always", "p=user n=ok", "+p p✗ +n n✓ failed(p)");
}

#[test]
fn a_driver_that_takes_over_knows_what_grew() {
    let journal = "+p p✓ +a a✓ +b take(b) b✓ succeeded";
    check("p *", "p=[a;b<a] a=ok take(b) b=ok", journal);
    check("p *", "p=[a;b<a_#2] a=ok take b=ok", "+p p✓ +a a✓ +b take +b#2 b✓ succeeded");
    // One that was lost asks anew, and what it would have brought is nowhere.
    check("p * #2", "take p=[a] a=ok", "+p take +p#2 p✓ +a a✓ succeeded");
}

#[test]
fn an_answer_that_does_not_fit_is_the_users_failure() {
    for (steps, answer, why) in [
        ("a; p<a *", "[a]", "two steps are named `a`"),
        ("p *", "[a;q_*]", "cannot ask for a plan itself"),
        ("p *", "ok", "without a plan"),
        ("p; q *", "[a]", "does not ask"),
    ] {
        let mut game = Game::new(steps, 9);
        game.play("take");
        if steps.starts_with('a') {
            game.play("a=ok");
        }
        game.play(&format!("p={answer}"));
        let p = game.state.plan().find("p").unwrap();
        let StepPhase::Failed(failure) = game.state.step(p) else { panic!("{answer} fits") };
        assert!(failure.message.contains(why), "{}", failure.message);
        assert_eq!(failure.kind, ErrorKind::Invalid);
    }
    // Two planners that answer the same: the second has no room.
    let mut game = Game::new("p *; q *", 9);
    for word in ["take", "p=[a]", "q=[b]"] {
        game.play(word);
    }
    let q = game.state.plan().find("q").unwrap();
    let StepPhase::Failed(failure) = game.state.step(q) else { panic!("two boxes of one name") };
    assert!(failure.message.contains("there is a box `pipeline` already"), "{}", failure.message);
}

#[test]
fn a_journal_whose_plan_does_not_fit_is_refused() {
    let mut game = Game::new("p *", 9);
    game.play("take");
    let (step, attempt) = (StepId(0), 1);
    let before = game.state.clone();
    for plan in [None, Some(plan_in("main", "a")), Some(plan_in("x", "p"))] {
        let output = Box::new(Output { plan, ..Output::default() });
        let refused = game.state.apply(&Event::StepSucceeded { step, attempt, output });
        assert!(refused.is_err());
        assert_eq!(game.state, before, "what is refused changes nothing");
    }
}

fn extended(outer: &str, fragment: &Plan) -> Result<Plan, PlanError> {
    let outer = plan(outer);
    outer.extend(outer.find("p").unwrap(), fragment)
}

#[test]
fn a_fragment_is_checked_as_it_joins() {
    let fragment = |text| plan_in("pipeline", text);
    let mut late = Plan::builder();
    late.timeout(Duration::from_secs(1));
    late.step(Step::new("a", plan("x").step(StepId(0)).op.clone()));
    late.add_box("main".parse().unwrap(), plan("x").boxes().values().next().unwrap().clone());
    let late = late.finish().unwrap();
    assert_eq!(extended("p *", &late), Err(PlanError::FragmentTimeout));
    let boxed = plan_in("main", "a");
    assert_eq!(extended("p *", &boxed), Err(PlanError::BoxExists("main".parse().unwrap())));
    assert_eq!(extended("p", &fragment("a")), Err(PlanError::NotAsked(StepId(0))));
    let placed = fragment("a").step(StepId(0)).clone().on(kiln::Placement {
        labels: BTreeMap::from([("gpu".to_owned(), "yes".to_owned())]),
        ..kiln::Placement::default()
    });
    let mut plan = Plan::builder();
    plan.add_box(
        "pipeline".parse().unwrap(),
        fragment("a").boxes().values().next().unwrap().clone(),
    );
    plan.step(placed);
    assert_eq!(extended("p *", &plan.finish().unwrap()), Err(PlanError::PlacementGrows));
    let many: Vec<String> = (0..kiln::plan::STEPS_MAX).map(|i| format!("s{i}")).collect();
    let many = fragment(&many.join(";"));
    assert_eq!(extended("p *", &many), Err(PlanError::TooLong(kiln::plan::STEPS_MAX + 1)));
}

#[test]
fn a_retry_begins_with_what_was_submitted() {
    let mut game = Game::new("f; p<f *; z; y<p", 9);
    for word in ["take", "f=ok", "p=[a;b<a]", "z=ok", "y=ok", "a=user"] {
        game.play(word);
    }
    let state = &game.state;
    assert_eq!((state.phase(), state.plan().steps().len()), (Phase::Finished, 6));
    assert_eq!(state.submitted(), &plan("f; p<f *; z; y<p"));
    let reuse = state.reuse().unwrap();
    // Commands in boxes are made again for the planner that reads what they left; `z` is not.
    assert_eq!(reuse.steps().collect::<Vec<_>>(), [StepId(2)]);
    let (plan, owner, labels) = (state.submitted().clone(), Owner::local(), BTreeMap::new());
    let accepted = Event::Accepted { plan, owner, labels, by: None };
    let of = BuildId::new("former").unwrap();
    let journal = [vec![accepted], reuse.events(&of)].concat();
    let mut again = BuildState::replay(&journal).unwrap();
    let output = Box::default();
    let forced = Event::StepReused { step: StepId(1), of, output, node: None };
    assert!(again.apply(&forced).is_err(), "a plan step is never reused");
}

/// Steps of which each needs some of those before, and its kind.
fn graph() -> impl Strategy<Value = Vec<(Vec<usize>, u8, bool)>> {
    let step = (proptest::collection::vec(0_usize..8, 0..3), 0_u8..3, any::<bool>());
    proptest::collection::vec(step, 1..8)
}

/// The plan of a graph behind a first step `p`; what needs nothing needs that, if it is there.
fn of_graph(graph: &[(Vec<usize>, u8, bool)], first: Option<Step>) -> Plan {
    let mut plan = Plan::builder();
    let template = plan_in("pipeline", "x");
    plan.add_box("pipeline".parse().unwrap(), template.boxes().values().next().unwrap().clone());
    let shift = u16::from(first.is_some());
    if let Some(first) = first {
        plan.step(first);
    }
    for (i, (needs, when, may_fail)) in graph.iter().enumerate() {
        let mut step = Step::new(format!("s{i}"), template.step(StepId(0)).op.clone());
        step.needs = needs.iter().filter(|n| **n < i).map(|n| StepId(*n as u16 + shift)).collect();
        if step.needs.is_empty() && shift > 0 {
            step.needs.push(StepId(0));
        }
        step.when = [When::Success, When::Always, When::Failure][usize::from(*when)];
        step.may_fail = *may_fail;
        plan.step(step);
    }
    plan.finish().unwrap()
}

/// Plays all steps to their end, each as the dice say; returns what was started, in order.
fn play(
    mut state: BuildState,
    dice: &[bool],
    grown: Option<&Plan>,
) -> (Vec<String>, Option<Outcome>) {
    let (driver, node) = (DriverId::random(), NodeId::new("n").unwrap());
    state.apply(&Event::Adopted { driver, node, kept: vec![] }).unwrap();
    let mut started = Vec::new();
    loop {
        let events = state.advance(2);
        for event in &events {
            state.apply(event).unwrap();
            if let Event::StepStarted { step, .. } = event {
                started.push(state.plan().step(*step).name.clone());
            }
        }
        let Some((step, attempt)) = state.running().next() else { break };
        let name = state.plan().step(step).name.clone();
        let number = name.strip_prefix('s').and_then(|n| n.parse::<usize>().ok());
        let fails = number.is_some_and(|n| dice[n % dice.len()]);
        let output =
            Output { plan: grown.filter(|_| step == StepId(0)).cloned(), ..Output::default() };
        let result = match fails {
            true => Err(kiln::Failure::new(kiln::FailureClass::User, "no")),
            false => Ok(Box::new(output)),
        };
        let command = kiln::state::Command::Complete { step, attempt, result };
        for event in state.decide(command).unwrap() {
            state.apply(&event).unwrap();
        }
    }
    (started, state.outcome().cloned())
}

proptest! {
    #[test]
    fn to_have_grown_is_to_have_been_planned_so(
        graph in graph(),
        dice in proptest::collection::vec(any::<bool>(), 8),
    ) {
        let asks = plan("p *").step(StepId(0)).clone();
        let fragment = of_graph(&graph, None);
        let outer = Plan::new(vec![asks.clone()]).unwrap();
        let extended = outer.extend(StepId(0), &fragment).unwrap();
        let planned = of_graph(&graph, Some(asks));
        prop_assert_eq!(&extended, &planned);
        let state = |plan| BuildState::accepted(plan, Owner::local(), BTreeMap::new());
        let grew = play(state(outer), &dice, Some(&fragment));
        // The same plan with a first step that only succeeds.
        let mut steps = planned.steps().to_vec();
        steps[0].op = planned.step(StepId(1)).op.clone();
        let mut knew = Plan::builder();
        for (name, spec) in planned.boxes() {
            knew.add_box(name.clone(), spec.clone());
        }
        for step in steps {
            knew.step(step);
        }
        let knew = play(state(knew.finish().unwrap()), &dice, None);
        prop_assert_eq!(grew, knew);
    }
}
