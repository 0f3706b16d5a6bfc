//! What a build that goes on from a failure does again: one line of plan, one of how it went, one
//! of what is reused, what runs, and where.

use crate::machine::{Machine, boxed, exec, image};
use kiln::{
    BoxName, BoxSpec, BuildId, BuildSpec, BuildState, Context, DriverId, ErrorKind, Event, Failure,
    FailureClass, Image, ImageFrom, NodeId, Op, Outcome, Output, Owner, Phase, Plan, Recipe,
    RelPath, Revision, SourceSpec, Step, StepId, StepStatus, Submission, When, plan::Command,
    state::Refusal,
};
use std::collections::BTreeMap;

/// `"f:fetch; b:build<f; p:push<b"`: verbs `fetch`, `exec`, `build` (with files), `inline`
/// (without), `push` (of what it needs first), `upload`; `@always` as in the scenarios.
fn plan(text: &str) -> Plan {
    let mut plan = Plan::builder();
    let in_box = BoxName::new("main").unwrap();
    plan.add_box(in_box.clone(), BoxSpec::new(image("busybox")));
    let mut names = BTreeMap::new();
    for line in text.split(';') {
        let (line, when) = match line.trim().strip_suffix(" @always") {
            Some(line) => (line, When::Always),
            None => (line.trim(), When::Success),
        };
        let (name, rest) = line.split_once(':').unwrap();
        let (verb, needs) = rest.split_once('<').unwrap_or((rest, ""));
        let needs: Vec<StepId> =
            needs.split(',').filter(|n| !n.is_empty()).map(|n| names[n]).collect();
        let root = RelPath::root;
        let recipe = Recipe::Inline { text: "FROM scratch".into() };
        let op = match verb {
            "fetch" => Op::Fetch { source: SourceSpec::new("memory:code"), into: root() },
            "exec" => Op::Exec { in_box: in_box.clone(), command: Command::new(["true"]) },
            "build" => {
                Op::Build(BuildSpec::new(recipe).context(Context::Workspace { path: root() }))
            }
            "inline" => Op::Build(BuildSpec::new(recipe)),
            "push" => {
                let (image, to) = (ImageFrom::Step(needs[0]), image("hub.test/app:1"));
                Op::Push { image, to, credentials: None }
            }
            "upload" => {
                Op::Upload { path: RelPath::new("a").unwrap(), name: RelPath::new("a").unwrap() }
            }
            _ => panic!("what is `{verb}`?"),
        };
        let mut step = Step::new(name, op).when(when);
        step.needs = needs;
        names.insert(name, plan.step(step));
    }
    plan.finish().unwrap()
}

/// Plays `"f b@n2 p!"`: these steps succeed, `@` on another node than before (first `n1`), or fail.
fn play(plan: &Plan, fate: &str) -> BuildState {
    let mut state = BuildState::accepted(plan.clone(), Owner::local(), BTreeMap::new());
    let mut journal = vec![];
    let mut on = "";
    for word in fate.split_whitespace() {
        let (word, node) =
            word.split_once('@').unwrap_or((word, if on.is_empty() { "n1" } else { on }));
        let (name, fails) = word.strip_suffix('!').map_or((word, false), |name| (name, true));
        let step = plan.find(name).unwrap();
        if node != on {
            let kept = state.running().map(|(id, _)| id).collect();
            let driver = DriverId::random();
            journal.push(Event::Adopted { driver, node: NodeId::new(node).unwrap(), kept });
            on = node;
        }
        let attempt = 1;
        if matches!(plan.step(step).op, Op::Fetch { .. }) {
            let revision = Revision { id: format!("{name}-1"), reference: None };
            journal.push(Event::StepPinned { step, attempt, revision });
        }
        let made = || Image { id: format!("image of {name}"), tags: vec![], bytes: 1 };
        let image = plan.step(step).op.makes_image().then(made);
        let output = Box::new(Output { image, ..Output::default() });
        journal.push(match fails {
            true => {
                let failure = Failure::new(FailureClass::User, "no");
                Event::StepFailed { step, attempt, failure }
            }
            false => Event::StepSucceeded { step, attempt, output },
        });
        for event in journal.drain(..) {
            state.apply(&event).unwrap();
            state.advance(99).iter().for_each(|e| state.apply(e).unwrap());
        }
    }
    state
}

/// What is reused; what runs, `=` a fetch that is pinned; and the node, if it matters.
#[track_caller]
fn check(steps: &str, fate: &str, expected: &str) {
    let plan = plan(steps);
    let former = play(&plan, fate);
    assert_eq!(former.phase(), Phase::Finished, "{fate}");
    let reuse = former.reuse().unwrap();
    let (of, owner) = (BuildId::new("former").unwrap(), Owner::local());
    let accepted = Event::Accepted { plan: plan.clone(), owner, labels: BTreeMap::new(), by: None };
    let journal: Vec<Event> = [vec![accepted], reuse.events(&of)].concat();
    let state = BuildState::replay(&journal).unwrap();
    let name = |id: StepId| plan.step(id).name.clone();
    let reused: Vec<_> = reuse.steps().map(name).collect();
    let runs = plan.ids().filter(|id| !state.step(*id).is_over());
    let runs: Vec<_> = runs
        .map(|id| format!("{}{}", name(id), if state.pin(id).is_some() { "=" } else { "" }))
        .collect();
    let node = state.placement().node.map(|n| format!(" on {n}")).unwrap_or_default();
    let said = format!("{} | {}{node}", reused.join(" "), runs.join(" "));
    assert_eq!(said, expected, "\n{steps}\n{fate}");
    assert_eq!(state.placement().node.as_ref(), reuse.node());
}

#[test]
fn what_succeeded_stays_and_what_is_gone_is_made_again() {
    let chain = "f:fetch; t:exec<f; b:build<t; p:push<b";
    check(chain, "f t b p!", "f t b | p on n1");
    check(chain, "f t b!", " | f= t b p");
    check(chain, "f t!", " | f= t b p");
    check(chain, "f!", " | f t b p");
    check("b:inline; p:push<b; d:exec<p", "b p d!", "b p | d");
    check("b:inline; p:push<b; q:push<b", "b p q!", "b p | q on n1");
    check("f:fetch; u:upload<f; b:inline<u", "f u b!", "f u | b");
}

#[test]
fn a_fetch_brings_the_same_again_and_a_command_may_not() {
    check("f:fetch; b:build<f; t:exec<f; p:push<b,t", "f b t!", "b | f= t p on n1");
    check("f:fetch; m:exec<f; b:build<m; d:exec<m; p:push<b", "f m b p d!", " | f= m b d p");
    // What is not needed, even indirectly, is not made again.
    check("f:fetch; g:fetch; b:build<f; t:exec<g", "f g b t!", "f b | g= t");
}

#[test]
fn after_steps_run_for_every_build() {
    check("b:inline; p:push<b; n:exec<p @always", "b p! n", "b | p n on n1");
    check("b:inline; n:exec<b @always; p:push<b,n; q:push<b", "b q! n p", "b | n p q on n1");
}

#[test]
fn an_image_is_where_it_was_made() {
    check("a:inline; b:inline; p:push<a; q:push<b", "a b@n2 p!@n2 q!", "a | b p q on n1");
    check("b:inline; p:push<b", "b p!@n2", "b | p on n1");
}

#[test]
fn a_repeated_build_can_be_repeated() {
    let plan = plan("b:inline; p:push<b; d:exec<p");
    let first = play(&plan, "b p d!").reuse().unwrap();
    let of = BuildId::new("first").unwrap();
    let accepted =
        |plan| Event::Accepted { plan, owner: Owner::local(), labels: BTreeMap::new(), by: None };
    let journal = [vec![accepted(plan.clone())], first.events(&of)].concat();
    let mut second = BuildState::replay(&journal).unwrap();
    let node = NodeId::new("n9").unwrap();
    let taken = Event::Adopted { driver: DriverId::random(), node, kept: vec![] };
    second.apply(&taken).unwrap();
    assert_eq!(second.advance(9), [Event::StepStarted { step: StepId(2), attempt: 1 }]);
    // Too late: a driver has it.
    let late = first.events(&of);
    assert!(second.apply(&late[0]).is_err());
    let gone = Event::StepFailed {
        step: StepId(2),
        attempt: 1,
        failure: Failure::new(FailureClass::User, "no"),
    };
    second.apply(&second.advance(9)[0].clone()).unwrap();
    second.apply(&gone).unwrap();
    second.apply(&second.advance(9)[0].clone()).unwrap();
    // It knows where the image is, though it never made it.
    assert_eq!(second.reuse().unwrap(), first);
}

#[test]
fn there_has_to_be_a_failure_to_go_on_from() {
    let plan = plan("b:inline; p:push<b");
    assert_eq!(play(&plan, "b").reuse().unwrap_err(), Refusal::Unfinished);
    assert_eq!(play(&plan, "b p").reuse().unwrap_err(), Refusal::Succeeded);
}

#[test]
fn an_engine_goes_on_from_what_failed() {
    kiln_conformance::run("reuse", async {
        let m = Machine::new();
        let (mut plan, _) = boxed();
        let recipe = Recipe::Inline { text: "FROM scratch\nRUN true".into() };
        let built = plan.step(Step::build("build", BuildSpec::new(recipe)));
        let (image, to) = (ImageFrom::Step(built), image("hub.test/app:1"));
        let pushed = Op::Push { image, to, credentials: None };
        let pushed = plan.step(Step::new("push", pushed).after(built));
        plan.step(exec("deploy", "echo deployed; false").after(pushed));
        let plan = plan.finish().unwrap();
        let (first, outcome) = m.engine.run(plan.clone()).await.unwrap();
        assert_eq!(outcome, Outcome::Failed { step: StepId(2) });
        let reuse = m.engine.state(&first).await.unwrap().reuse().unwrap();
        let again = Submission::new(plan.clone()).reuse(first.clone(), reuse.clone());
        let second = m.engine.accept(again).await.unwrap();
        m.engine.drive(&second).await.unwrap();
        let view = m.engine.view(&second).await.unwrap();
        let steps: Vec<_> =
            view.step_views.iter().map(|s| (s.status, s.attempts, s.reused_of.clone())).collect();
        let reused = (StepStatus::Succeeded, 0, Some(first.clone()));
        assert_eq!(steps, [reused.clone(), reused, (StepStatus::Failed, 1, None)]);
        let former = m.engine.view(&first).await.unwrap();
        assert_eq!(view.step_views[1].output, former.step_views[1].output);
        assert_eq!(m.output(&second).await, "deployed\n");
        // What is of another plan is refused before it is kept.
        let other = Plan::new(vec![plan.step(StepId(0)).clone()]).unwrap();
        let wrong = Submission::new(other).reuse(first, reuse).id(BuildId::new("wrong").unwrap());
        let refused = m.engine.accept(wrong).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
        assert!(m.engine.view(&BuildId::new("wrong").unwrap()).await.is_err());
    });
}
