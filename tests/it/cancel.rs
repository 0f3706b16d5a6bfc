//! Builds that are cancelled before anybody drove them.

use crate::machine::{Machine, boxed, commands, exec};
use kiln::{
    Actor, Event, Outcome, Owner, Phase, Seq, Submission, When,
    port::{BuildFilter, Page},
};

fn ann() -> Option<Actor> {
    Some(Actor { owner: Owner::new("ann").unwrap(), name: Some("ci".into()) })
}

#[test]
fn a_build_that_nobody_drives_ends_at_once_when_it_is_cancelled() {
    kiln_conformance::run("cancel", async {
        let m = Machine::new();
        let submission = Submission::new(commands(&["echo never"])).by(ann().unwrap());
        let build = m.engine.accept(submission).await.unwrap();
        let phase = m.engine.cancel_by(&build, "enough", false, ann()).await.unwrap();
        assert_eq!(phase, Phase::Finished);
        // The log is closed, or this would wait for ever.
        assert_eq!(m.output(&build).await, "");
        let page = Page { max: 9, after: None };
        let listed = m.engine.list(&BuildFilter::default(), &page).await.unwrap();
        assert_eq!(listed[0].outcome, Some(Outcome::Cancelled));
        let told: Vec<_> = m.notifier.notices().into_iter().map(|n| n.event).collect();
        assert_eq!(told, [Event::Finished { outcome: Outcome::Cancelled }]);
        let view = m.engine.view(&build).await.unwrap();
        assert_eq!((view.by, view.stop.unwrap().by), (ann(), ann()));
    });
}

#[test]
fn a_queued_build_with_after_steps_waits_for_whoever_runs_them() {
    kiln_conformance::run("cancel", async {
        let m = Machine::new();
        let (mut plan, _) = boxed();
        let never = plan.step(exec("never", "echo never"));
        plan.step(exec("tidy", "echo after").after(never).when(When::Always));
        let build = m.engine.accept(Submission::new(plan.finish().unwrap())).await.unwrap();
        let phase = m.engine.cancel_by(&build, "enough", false, None).await.unwrap();
        assert_eq!(phase, Phase::Stopping);
        assert_eq!(m.engine.drive(&build).await.unwrap(), Outcome::Cancelled);
        assert_eq!(m.output(&build).await, "after\n");
    });
}

#[test]
fn whoever_drives_a_build_that_is_over_tells_of_it() {
    kiln_conformance::run("cancel", async {
        let m = Machine::new();
        let build = m.engine.accept(Submission::new(commands(&["true"]))).await.unwrap();
        // As if whoever cancelled it died before it could tell.
        let journal = m.engine.tools().store.load(&build, Seq::START).await.unwrap();
        let before = kiln::BuildView::of(&build, &journal).unwrap();
        m.engine.cancel(&build, "enough", true).await.unwrap();
        let index = &m.engine.tools().index;
        index.forget(&build).await.unwrap();
        index.put(&before.summary).await.unwrap();
        assert_eq!(m.engine.drive(&build).await.unwrap(), Outcome::Cancelled);
        let page = Page { max: 9, after: None };
        let listed = m.engine.list(&BuildFilter::default(), &page).await.unwrap();
        assert_eq!(listed[0].phase, Phase::Finished);
    });
}
