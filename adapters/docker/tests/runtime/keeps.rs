//! What builds keep of boxes: artifacts that are collected, and caches.

use crate::parts::{Bench, bench};
use futures::TryStreamExt;
use kiln::{
    BoxName, BuildId, CacheKey, Command, Engine, ErrorKind, FailureClass, Op, Outcome, Output,
    Plan, PlanBuilder, RelPath, Step, StepId,
    port::{ArtifactKey, ArtifactStore, Runtime},
};
use std::{
    io::Read,
    sync::{Arc, Mutex},
};

/// An engine over real boxes, whose plans are one step after the other.
struct World {
    bench: Bench,
    engine: Engine,
    builds: Mutex<Vec<BuildId>>,
}

impl World {
    async fn new(test: &str) -> Option<Self> {
        let bench = bench(test).await?;
        let engine = Engine::builder()
            .runtime(bench.runtime.clone())
            .containers(Arc::new(bench.containers.clone()))
            .build();
        Some(Self { bench, engine, builds: Mutex::default() })
    }

    async fn run(&self, steps: impl IntoIterator<Item = Op>) -> (BuildId, Outcome) {
        let mut plan: PlanBuilder = Plan::builder();
        plan.add_box(main_box(), self.bench.spec());
        let mut before = None;
        for (i, op) in steps.into_iter().enumerate() {
            let step = Step::new(format!("s{i}"), op);
            before = Some(plan.step(match before {
                Some(before) => step.after(before),
                None => step,
            }));
        }
        let (build, outcome) = self.engine.run(plan.finish().unwrap()).await.unwrap();
        self.builds.lock().unwrap().push(build.clone());
        (build, outcome)
    }

    /// The output of the last step, of a build that succeeded.
    async fn output(&self, steps: impl IntoIterator<Item = Op>) -> (BuildId, Output) {
        let (build, outcome) = self.run(steps).await;
        let mut view = self.engine.view(&build).await.unwrap();
        assert_eq!(outcome, Outcome::Succeeded, "{:?}", view.step_views);
        (build, view.step_views.pop().unwrap().output.unwrap())
    }

    /// Why the last step failed.
    async fn failure(&self, steps: Vec<Op>) -> kiln::Failure {
        let last = StepId(u16::try_from(steps.len() - 1).unwrap());
        let (build, outcome) = self.run(steps).await;
        let mut view = self.engine.view(&build).await.unwrap();
        assert_eq!(outcome, Outcome::Failed { step: last }, "{:?}", view.step_views);
        view.step_views.pop().unwrap().failure.unwrap()
    }

    /// The entries of an artifact, a line each: kind, mode, name and where it leads.
    async fn entries(&self, build: &BuildId) -> Vec<String> {
        let artifacts: &dyn ArtifactStore = &*self.engine.tools().artifacts;
        let key = ArtifactKey { build: build.clone(), name: RelPath::new("out.tar").unwrap() };
        let body = artifacts.get(&key).await.unwrap();
        let bytes = body.try_collect::<Vec<_>>().await.unwrap().concat();
        let mut lines = Vec::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let header = entry.header();
            let leads = entry.link_name().unwrap().map(|l| format!(" > {}", l.display()));
            let (kind, mode) = (header.entry_type().as_byte() as char, header.mode().unwrap());
            let name = entry.path().unwrap().display().to_string();
            let name = name.trim_end_matches('/');
            let leads = leads.unwrap_or_default();
            let text = text.trim_end();
            lines.push(format!("{kind} {:o} {name}{leads} {text}", mode & 0o7777));
        }
        lines.sort();
        lines
    }
}

fn main_box() -> BoxName {
    BoxName::new("main").unwrap()
}

fn exec(script: &str) -> Op {
    Op::Exec { in_box: main_box(), command: Command::script(script) }
}

fn collect(paths: &[&str], bytes_max: u64, optional: bool) -> Op {
    let paths = paths.iter().map(|p| (*p).to_owned()).collect();
    let name = RelPath::new("out.tar").unwrap();
    Op::Collect { in_box: main_box(), paths, name, bytes_max, optional }
}

fn save(path: &str, bytes_max: u64) -> Op {
    let cache = CacheKey::new("ann/app").unwrap();
    Op::Save { cache, in_box: main_box(), path: path.to_owned(), bytes_max }
}

fn restore(path: &str, bytes_max: u64) -> Op {
    let cache = CacheKey::new("ann/app").unwrap();
    Op::Restore { cache, in_box: main_box(), path: path.to_owned(), bytes_max }
}

/// A file of a mode, links of every kind, and a directory with nothing in it.
const FILES: &str = "umask 022; mkdir -p /none /o/d/empty; echo one >/o/f; chmod 4751 /o/f; \
    ln -s f /o/soft; ln -s /etc/passwd /o/out; ln -s nowhere /o/dead; chmod 700 /o/d";

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_collected_with_modes_links_and_empty_directories() {
    let test = "a_directory_is_collected_with_modes_links_and_empty_directories";
    let Some(world) = World::new(test).await else { return };
    // What is not there, is empty or is a link into the void is passed over.
    let collected = collect(&["/nowhere", "/none", "/none/", "/o"], 1 << 20, false);
    let (build, output) = world.output([exec(FILES), collected]).await;
    let lines = [
        "0 4751 o/f one",
        "2 777 o/dead > nowhere ",
        "2 777 o/out > /etc/passwd ",
        "2 777 o/soft > f ",
        "5 700 o/d ",
        "5 755 o ",
        "5 755 o/d/empty ",
    ];
    assert_eq!(world.entries(&build).await, lines);
    assert!(output.artifact.unwrap().bytes >= 7 * 512);
    let (build, _) = world.output([exec(FILES), collect(&["/o/f"], 1 << 20, false)]).await;
    assert_eq!(world.entries(&build).await, ["0 4751 f one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_or_too_much_to_collect_is_told() {
    let Some(world) = World::new("nothing_or_too_much_to_collect_is_told").await else { return };
    let nothing = ["/none", "/nowhere/x", "/etc/passwd/x"];
    let (build, output) = world.output([exec(FILES), collect(&nothing, 99, true)]).await;
    assert_eq!(output.notes["artifact"], "none");
    assert_eq!(world.engine.tools().artifacts.list(&build).await.unwrap(), []);
    let failed = world.failure(vec![exec(FILES), collect(&nothing, 99, false)]).await;
    assert_eq!((failed.class, failed.kind), (FailureClass::User, ErrorKind::NotFound));
    // It would fill the memory, or the disk, if it were taken whole first.
    let sparse = exec("mkdir /big; dd if=/dev/zero of=/big/x bs=1 count=1 seek=6000000000");
    let failed = world.failure(vec![sparse, collect(&["/big"], 5 << 20, true)]).await;
    assert_eq!((failed.class, failed.kind), (FailureClass::User, ErrorKind::Failed));
    assert!(failed.message.contains("larger than it may be"), "{}", failed.message);
    let builds = world.builds.lock().unwrap().clone();
    for build in builds {
        assert_eq!(world.engine.tools().artifacts.list(&build).await.unwrap(), []);
        world.bench.runtime.sweep(&build).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_comes_back_elsewhere_as_it_was() {
    let Some(world) = World::new("a_cache_comes_back_elsewhere_as_it_was").await else { return };
    let ready = || exec("mkdir /back /new");
    let (_, output) = world.output([ready(), restore("/back", 1 << 20)]).await;
    assert_eq!(output.notes["cache"], "none");
    world.output([exec(FILES), save("/o", 1 << 20)]).await;
    let (_, output) = world.output([ready(), restore("/back/", 1 << 20)]).await;
    assert!(output.notes["cache"].ends_with(" bytes"), "{:?}", output.notes);
    let same = "set -e; cd /back; test \"$(cat f soft)\" = \"one\none\"; test -d d/empty; \
        ls -l | grep -e '-rwsr-x--x.* f$'; ls -l | grep -e '^drwx------.* d$'; \
        ls -l | grep -e ' out -> /etc/passwd$'; ls -l | grep -e ' dead -> nowhere$'; ! test -e o";
    world.output([ready(), restore("/back", 1 << 20), exec(same)]).await;
    // One that is too large changes nothing, in either direction.
    let failed = world.failure(vec![exec(FILES), save("/o", 1_000)]).await;
    assert_eq!(failed.class, FailureClass::User, "{}", failed.message);
    let failed = world.failure(vec![ready(), restore("/back", 1_000)]).await;
    assert!(failed.message.contains("the cache is larger"), "{}", failed.message);
    world.output([ready(), restore("/back", 1 << 20), exec(same)]).await;
    // What is saved last counts, and nothing is left of what was before.
    world.output([ready(), exec("echo two >/new/g"), save("/new", 1 << 20)]).await;
    let new = "set -e; cd /back; test \"$(ls)\" = g; test \"$(cat g)\" = two";
    world.output([ready(), restore("/back", 1 << 20), exec(new)]).await;
    // A directory that holds nothing is a cache too.
    world.output([ready(), save("/new", 1 << 20)]).await;
    world.output([ready(), restore("/back", 1 << 20), exec("test -z \"$(ls /back)\"")]).await;
    let failed = world.failure(vec![ready(), save("/nowhere", 1 << 20)]).await;
    assert_eq!(failed.kind, ErrorKind::NotFound, "{}", failed.message);
}
