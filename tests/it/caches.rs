//! Which caches are kept, on a pretended machine and a clock of the test's own.

use crate::machine::{Machine, boxed};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use kiln::{
    BoxName, BuildId, CacheKey, CacheLimits, Engine, Op, Outcome, Owner, RelPath, Submission,
    Timestamp, Toolbox,
    memory::VirtualClock,
    plan::Step,
    port::{ArtifactKey, ArtifactStore},
};
use std::{sync::Arc, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);

struct World {
    m: Machine,
    engine: Engine,
    clock: VirtualClock,
}

impl World {
    fn new() -> Self {
        let m = Machine::new();
        let clock = VirtualClock::at(Timestamp(1_000_000_000_000));
        let tools = Toolbox { clock: Arc::new(clock.clone()), ..Toolbox::clone(m.engine.tools()) };
        Self { engine: Engine::builder().toolbox(tools).build(), m, clock }
    }

    fn artifacts(&self) -> &dyn ArtifactStore {
        &*self.engine.tools().artifacts
    }

    /// Runs one step of a build of `ann`.
    async fn run(&self, op: Op, bytes: usize) {
        let (mut plan, in_box) = boxed();
        plan.step(Step::new("it", op));
        let build = BuildId::random();
        self.m.host.add_to_box(&build, &in_box, "/cache/x", vec![b'x'; bytes]);
        let submission = Submission::new(plan.finish().unwrap()).id(build.clone()).owner(ann());
        self.engine.accept(submission).await.unwrap();
        assert_eq!(self.engine.drive(&build).await.unwrap(), Outcome::Succeeded);
    }

    async fn save(&self, name: &str, bytes: usize) {
        let (in_box, path) = (BoxName::new("main").unwrap(), "/cache".to_owned());
        self.run(Op::Save { cache: key(name), in_box, path, bytes_max: 1 << 30 }, bytes).await;
    }

    async fn restore(&self, name: &str) {
        let (in_box, path) = (BoxName::new("main").unwrap(), "/cache".to_owned());
        self.run(Op::Restore { cache: key(name), in_box, path, bytes_max: 1 << 30 }, 0).await;
    }

    async fn put(&self, build: &BuildId, name: &str, text: &str) {
        let key = ArtifactKey { build: build.clone(), name: RelPath::new(name).unwrap() };
        let body = futures::stream::iter([Ok(Bytes::from(text.to_owned()))]).boxed();
        self.artifacts().put(&key, body).await.unwrap();
    }

    /// The names of what is forgotten, the oldest first.
    async fn prune(&self, hours: u32, bytes_max: u64) -> Vec<String> {
        let limits = CacheLimits { unused_max: hours * HOUR, bytes_max };
        let told = self.engine.surplus_caches(&limits).await.unwrap();
        let gone = self.engine.prune_caches(&limits).await.unwrap();
        assert_eq!(gone, told);
        for cache in &gone {
            assert_eq!(self.artifacts().list(&cache.id).await.unwrap(), []);
        }
        let name = |(owner, name)| format!("{owner} {name}");
        gone.into_iter().map(|c| c.named.map_or("unknown".to_owned(), name)).collect()
    }
}

fn ann() -> Owner {
    Owner::new("ann").unwrap()
}

fn key(name: &str) -> CacheKey {
    CacheKey::new(name).unwrap()
}

#[test]
fn what_nobody_uses_is_forgotten_and_a_restore_is_a_use() {
    kiln_conformance::run("age", async {
        let world = World::new();
        for name in ["a", "b", "c"] {
            world.save(name, 100).await;
            world.clock.advance(HOUR * 24);
        }
        assert_eq!(world.prune(24 * 4, u64::MAX).await, [""; 0]);
        world.restore("a").await;
        world.clock.advance(HOUR * 24 + HOUR);
        assert_eq!(world.prune(24 * 2, u64::MAX).await, ["ann b", "ann c"]);
        assert_eq!(world.prune(24 * 2, u64::MAX).await, [""; 0]);
        // One that is not there is not made by asking for it.
        world.restore("b").await;
        assert_eq!(world.artifacts().caches().await.unwrap(), [key("a").build(&ann())]);
    });
}

/// The note of a use is a stored form; see `docs/formats.md`.
#[test]
fn a_use_is_noted_as_it_was_before() {
    kiln_conformance::run("golden use", async {
        let world = World::new();
        world.save("ann/app", 1).await;
        let build = key("ann/app").build(&ann());
        let note = ArtifactKey { build, name: RelPath::new("used").unwrap() };
        let body = world.artifacts().get(&note).await.unwrap();
        let text = body.try_collect::<Vec<_>>().await.unwrap().concat();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/cache/v1.json");
        let golden = std::fs::read_to_string(path).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), golden.trim_end());
    });
}

#[test]
fn the_oldest_make_room_and_what_is_in_use_stays() {
    kiln_conformance::run("room", async {
        let world = World::new();
        for (name, bytes) in [("a", 50_000), ("b", 50_000), ("c", 200_000)] {
            world.save(name, bytes).await;
            world.clock.advance(HOUR * 2);
        }
        assert_eq!(world.prune(99, 310_000).await, [""; 0]);
        world.restore("a").await;
        assert_eq!(world.prune(99, 299_000).await, ["ann b"]);
        assert_eq!(world.prune(0, 0).await, ["ann c"]);
        world.clock.advance(HOUR - Duration::from_millis(1));
        assert_eq!(world.prune(0, 0).await, [""; 0]);
        world.clock.advance(Duration::from_millis(1));
        assert_eq!(world.prune(0, 0).await, ["ann a"]);
    });
}

#[test]
fn a_cache_that_nobody_noted_counts_from_when_it_is_seen() {
    kiln_conformance::run("unknown", async {
        let world = World::new();
        let of = |name: &str| key(name).build(&ann());
        let ahead = format!(r#"{{"version":1,"at":{}}}"#, u64::MAX);
        let foreign = r#"{"version":1,"at":0,"named":{"owner":"bob","cache":"app"}}"#;
        let long = format!(r#"{{"version":1,"at":0}}{}"#, " ".repeat(5_000));
        let notes = ["", "{}", r#"{"version":2,"at":0}"#, &ahead, foreign, &long];
        for (i, note) in notes.iter().enumerate() {
            let id = of(&format!("c{i}"));
            world.put(&id, CacheKey::ARCHIVE, "x").await;
            world.put(&id, "used", note).await;
        }
        world.put(&of("none"), CacheKey::ARCHIVE, "x").await;
        assert_eq!(world.prune(5, 0).await, [""; 0]);
        world.clock.advance(HOUR * 4);
        assert_eq!(world.prune(5, u64::MAX).await, [""; 0]);
        world.clock.advance(HOUR * 2);
        assert_eq!(world.prune(5, u64::MAX).await, ["unknown"; 7]);
        // A build is no cache, whatever it keeps.
        world.put(&BuildId::new("b1").unwrap(), CacheKey::ARCHIVE, "x").await;
        assert_eq!(world.prune(0, 0).await, [""; 0]);
    });
}
