//! A disk of an agent that is full: told with what to do, and gone on with once there is room.

use crate::{
    base::BASE,
    bench::{Agent, Bench, real},
};
use kiln::{
    BoxName, BoxSpec, BuildId, Command as Run, ErrorKind, Event, ImageRef, Op, Outcome, Owner,
    Plan, RelPath, SourceSpec, Step, StepId, Submission,
    port::{ArtifactKey, Job, Queue},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A file system of its own below an agent's data, gone with the test.
struct Small(PathBuf);

impl Small {
    fn mount(test: &str, at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2m", "kiln-test"]).arg(at);
        if mount.output().is_ok_and(|done| done.status.success()) {
            return Some(Self(at.to_owned()));
        }
        println!("SKIPPED: {test}: kernel: nothing may be mounted here");
        None
    }

    /// Takes all room that is left; a file to remove gives it back.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut bytes = 4 << 20;
        while fs::write(&ballast, vec![1; bytes]).is_err() {
            bytes -= 4096;
        }
        ballast
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A build that fetches a file of so many bytes and shows its first ones.
async fn fetching(bench: &Bench, name: &str, bytes: usize) -> BuildId {
    let upload = BuildId::new(format!("upload-{name}")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (file, archive) = (dir.path().join("file"), dir.path().join("context.tar"));
    fs::write(&file, vec![b'x'; bytes]).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(dir.path()).arg("-cf").arg(&archive).arg("file");
    assert!(tar.status().unwrap().success());
    let key = ArtifactKey { build: upload.clone(), name: RelPath::new("context.tar").unwrap() };
    let body = fs::read(archive).unwrap();
    let body = futures::stream::iter([Ok(body.into())]);
    bench.engine.tools().artifacts.put(&key, Box::pin(body)).await.unwrap();
    let (mut plan, main) = (Plan::builder(), BoxName::new("main").unwrap());
    plan.add_box(main.clone(), BoxSpec::new(ImageRef::parse(BASE).unwrap()));
    let source = SourceSpec::new(format!("upload:{upload}"));
    let fetch = Op::Fetch { source, into: RelPath::new("source").unwrap() };
    let fetched = plan.step(Step::new("fetch", fetch));
    let exec = Op::Exec { in_box: main, command: Run::script("echo here") };
    plan.step(Step::new("run", exec).after(fetched));
    let build = bench.engine.accept(Submission::new(plan.finish().unwrap())).await.unwrap();
    bench.queue().push(Job::new(build.clone(), Owner::local())).await.unwrap();
    build
}

async fn ended(bench: &Bench, build: &BuildId) -> (Outcome, Option<kiln::Failure>) {
    let journal = bench.until(build, |e| matches!(e, Event::Finished { .. })).await;
    let failure = journal.iter().find_map(|r| match &r.event {
        Event::StepFailed { failure, .. } => Some(failure.clone()),
        _ => None,
    });
    let Event::Finished { outcome } = &journal.last().unwrap().event else { unreachable!() };
    (outcome.clone(), failure)
}

/// An agent whose data is on a disk of 2 MiB.
fn cramped(bench: &Bench, test: &str) -> Option<(Agent, Small)> {
    let agent = bench.agent("one");
    let disk = Small::mount(test, &agent.dir.join("data"))?;
    Some((agent, disk))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_room_is_an_error_with_a_remedy_and_the_next_build_works() {
    let test = "what_has_no_room_is_an_error_with_a_remedy_and_the_next_build_works";
    let Some(bench) = real(test) else { return };
    let Some((mut agent, _disk)) = cramped(&bench, test) else { return };
    agent.start(&[]);
    let build = fetching(&bench, "large", 8 << 20).await;
    let (outcome, failure) = ended(&bench, &build).await;
    // Ours, and not the user's.
    assert_eq!(outcome, Outcome::Errored { step: StepId(0) });
    let failure = failure.unwrap();
    assert_eq!(failure.kind, ErrorKind::Exhausted, "{failure:?}");
    let data = agent.dir.join("data");
    assert!(failure.message.contains("disk") && failure.message.contains("is full"), "{failure:?}");
    assert!(failure.message.contains(data.to_str().unwrap()), "{failure:?}");
    assert!(failure.hint.as_ref().unwrap().contains("Free disk space"), "{failure:?}");
    // What did not fit is gone, so that there is room again.
    let build = fetching(&bench, "small", 1000).await;
    assert_eq!(ended(&bench, &build).await.0, Outcome::Succeeded);
    Bench::assert_swept(&build, &[&agent]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_a_full_disk_goes_on_once_there_is_room() {
    let test = "an_agent_with_a_full_disk_goes_on_once_there_is_room";
    let Some(bench) = real(test) else { return };
    let Some((mut agent, disk)) = cramped(&bench, test) else { return };
    agent.start(&[]);
    agent.until_said("ready");
    let ballast = disk.fill();
    let full = fetching(&bench, "full", 100_000).await;
    let (outcome, failure) = ended(&bench, &full).await;
    assert_eq!(outcome, Outcome::Errored { step: StepId(0) }, "{failure:?}");
    assert_eq!(failure.map(|f| f.kind), Some(ErrorKind::Exhausted));
    // That the leases cannot be kept is told, and stops nobody.
    agent.until_said("the leases cannot be kept");
    fs::remove_file(ballast).unwrap();
    let build = fetching(&bench, "again", 100_000).await;
    assert_eq!(ended(&bench, &build).await.0, Outcome::Succeeded);
    assert_eq!(bench.printed(&build, 1).await, "here\n");
    Bench::assert_swept(&build, &[&agent]);
}
