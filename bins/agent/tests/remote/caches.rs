//! Who may touch which cache.

use crate::fence::{Agent, World, is, test};
use crate::served::ann;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use kiln::{
    BoxName, BoxSpec, BuildId, CacheKey, Engine, ErrorKind, Op, Owner, Plan, RelPath, Result, Step,
    Submission,
    port::{ArtifactKey, ArtifactStore, Job, Queue, Settlement},
};
use kiln_conformance::sample::image;
use kiln_remote::RemoteArtifacts;

/// The archive of a cache.
fn archive(owner: &Owner, name: &str) -> ArtifactKey {
    let build = CacheKey::new(name).unwrap().build(owner);
    ArtifactKey { build, name: RelPath::new(CacheKey::ARCHIVE).unwrap() }
}

/// Accepts a build of `ann` that restores the cache `app` and saves the cache `lib`, and queues it.
async fn build(world: &World) -> BuildId {
    let mut plan = Plan::builder();
    let in_box = BoxName::new("main").unwrap();
    plan.add_box(in_box.clone(), BoxSpec::new(image("busybox")));
    let (path, bytes_max) = ("/c".to_owned(), 1 << 20);
    let cache = CacheKey::new("app").unwrap();
    let app = Op::Restore { cache, in_box: in_box.clone(), path: path.clone(), bytes_max };
    plan.step(Step::new("restore", app));
    let cache = CacheKey::new("lib").unwrap();
    plan.step(Step::new("save", Op::Save { cache, in_box, path, bytes_max }));
    let engine = Engine::builder().toolbox(world.tools.clone()).build();
    let submission = Submission::new(plan.finish().unwrap()).owner(ann());
    let build = engine.accept(submission).await.unwrap();
    world.queue.push(Job::new(build.clone(), ann())).await.unwrap();
    build
}

async fn put(store: &dyn ArtifactStore, key: &ArtifactKey, text: &'static str) -> Result<()> {
    store.put(key, stream::iter([Ok(Bytes::from(text))]).boxed()).await.map(drop)
}

async fn get(store: &dyn ArtifactStore, key: &ArtifactKey) -> Result<Vec<u8>> {
    Ok(store.get(key).await?.try_collect::<Vec<_>>().await?.concat())
}

#[test]
fn an_agent_reaches_the_caches_of_what_it_leased() {
    test("an_agent_reaches_the_caches_of_what_it_leased", async {
        let world = World::new();
        let url = world.serve();
        let (a, b) = (Agent::new(&url, "agent-a").await, Agent::new(&url, "agent-b").await);
        let mine = RemoteArtifacts::new(a.client.clone());
        let others = RemoteArtifacts::new(b.client.clone());
        let kept = &*world.tools.artifacts;
        let (app, lib) = (archive(&ann(), "app"), archive(&ann(), "lib"));
        put(kept, &app, "kept").await.unwrap();
        build(&world).await;
        let lease = a.lease().await.unwrap();
        assert_eq!(get(&mine, &app).await.unwrap(), b"kept");
        assert_eq!(mine.list(&app.build).await.unwrap()[0].bytes, 4);
        put(&mine, &lib, "saved").await.unwrap();
        assert_eq!(get(kept, &lib).await.unwrap(), b"saved");
        // The other agent has a lease too, of a build that names no cache.
        world.build(Owner::local()).await;
        b.lease().await.unwrap();
        for key in [&app, &lib] {
            is(get(&others, key).await, ErrorKind::Denied);
            is(others.list(&key.build).await, ErrorKind::Denied);
            is(put(&others, key, "theirs").await, ErrorKind::Denied);
        }
        a.queue().settle(&lease, Settlement::Done).await.unwrap();
        is(get(&mine, &app).await, ErrorKind::Denied);
        is(put(&mine, &lib, "late").await, ErrorKind::Denied);
        assert_eq!(get(kept, &lib).await.unwrap(), b"saved");
    });
}

#[test]
fn no_other_cache_is_reached() {
    test("no_other_cache_is_reached", async {
        let world = World::new();
        let url = world.serve();
        let a = Agent::new(&url, "agent-a").await;
        let mine = RemoteArtifacts::new(a.client.clone());
        let kept = &*world.tools.artifacts;
        let owner = |name| Owner::new(name).unwrap();
        // Of the owner but not named, of the name but not the owner's, and of a build.
        let of_build = ArtifactKey { build: BuildId::new("b9").unwrap(), ..archive(&ann(), "x") };
        let foreign = [archive(&ann(), "app2"), archive(&owner("bob"), "app"), of_build];
        for key in &foreign {
            put(kept, key, "kept").await.unwrap();
        }
        let app = archive(&ann(), "app");
        put(kept, &app, "kept").await.unwrap();
        is(get(&mine, &app).await, ErrorKind::Denied);
        build(&world).await;
        a.lease().await.unwrap();
        for key in &foreign {
            is(get(&mine, key).await, ErrorKind::Denied);
            is(mine.list(&key.build).await, ErrorKind::Denied);
            is(put(&mine, key, "theirs").await, ErrorKind::Denied);
            assert_eq!(get(kept, key).await.unwrap(), b"kept");
        }
        // Which there are, and that one goes, is for nobody but the server.
        is(mine.caches().await, ErrorKind::Denied);
        is(mine.forget(&app.build).await, ErrorKind::Denied);
        assert_eq!(get(kept, &app).await.unwrap(), b"kept");
    });
}
