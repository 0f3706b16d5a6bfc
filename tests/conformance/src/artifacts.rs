//! What every [`ArtifactStore`] must do.
//!
//! `kiln_conformance::artifacts_suite!(Fresh::new(Arc::new(MyArtifacts::open())))`

use crate::{Fresh, helpers::expect_kind, poll_times, sample::build};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use kiln::{
    BuildId, CacheKey, Error, ErrorKind, Owner, RelPath,
    port::{ArtifactKey, ArtifactStore, ByteStream},
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Makes a test of every promise of an artifact store. The expression makes a `Fresh<A>` for some
/// `A: ArtifactStore`.
#[macro_export]
macro_rules! artifacts_suite {
    ($fresh:expr) => {
        $crate::tests_of! { artifacts, $fresh,
            bytes_come_back_as_they_were
            the_digest_is_sha256
            many_pieces_make_one_artifact
            putting_again_replaces_the_whole
            a_stream_that_fails_leaves_what_was
            a_cancelled_put_leaves_what_was
            readers_see_the_old_or_the_new
            a_get_goes_on_while_another_put_replaces
            unknown_is_not_found
            a_list_is_by_name
            names_that_are_alike_do_not_mix
            forgetting_is_thorough_and_repeatable
            an_artifact_has_a_name
            caches_are_listed_and_builds_are_not
            artifacts_outlive_the_process
        }
    };
}

fn key(of: &str, name: &str) -> ArtifactKey {
    ArtifactKey { build: build(of), name: RelPath::new(name).expect("a path below the root") }
}

fn body(pieces: impl IntoIterator<Item = impl Into<Bytes>>) -> ByteStream {
    let pieces: Vec<Bytes> = pieces.into_iter().map(Into::into).collect();
    stream::iter(pieces.into_iter().map(Ok)).boxed()
}

async fn get(store: &(impl ArtifactStore + ?Sized), key: &ArtifactKey) -> Option<Vec<u8>> {
    let stream = match store.get(key).await {
        Ok(stream) => stream,
        Err(e) if e.kind() == ErrorKind::NotFound => return None,
        Err(e) => panic!("cannot get: {e:?}"),
    };
    let pieces: Vec<Bytes> = stream.try_collect().await.expect("a whole artifact");
    Some(pieces.concat())
}

/// What is put can be got, byte for byte, and its size is told.
pub async fn bytes_come_back_as_they_were<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    let every: Vec<u8> = (0..=255).collect();
    for (name, bytes) in [("empty", vec![]), ("dir/every byte \u{1F525}", every), ("x", vec![0])] {
        let artifact = store.put(&key("b", name), body([bytes.clone()])).await.unwrap();
        assert_eq!(artifact.bytes, bytes.len() as u64);
        assert_eq!(get(&*store, &key("b", name)).await, Some(bytes), "{name}");
    }
}

/// The digest is SHA-256 of the bytes, however they were cut.
pub async fn the_digest_is_sha256<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let none = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for (pieces, digest) in [(vec!["abc"], abc), (vec!["a", "", "bc"], abc), (vec![], none)] {
        let artifact = store.put(&key("b", "x"), body(pieces)).await.unwrap();
        assert_eq!(artifact.digest.to_string(), digest);
    }
}

/// A body of many pieces is kept whole and in order.
pub async fn many_pieces_make_one_artifact<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    let piece = |i: usize| Bytes::from(vec![i as u8; 10_000 + i]);
    let artifact = store.put(&key("b", "big"), body((0..300).map(piece))).await.unwrap();
    let expected = (0..300).map(piece).collect::<Vec<_>>().concat();
    assert_eq!(artifact.bytes, expected.len() as u64);
    let got = get(&*store, &key("b", "big")).await.expect("it was put");
    assert!(got == expected, "other bytes came back");
}

/// Putting under a key that exists replaces it whole, also with less.
pub async fn putting_again_replaces_the_whole<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    let k = key("b", "x");
    for text in ["a long text", "short", "", "a long text again"] {
        let artifact = store.put(&k, body([text])).await.unwrap();
        assert_eq!(get(&*store, &k).await.as_deref(), Some(text.as_bytes()));
        assert_eq!(store.list(&k.build).await.unwrap(), [artifact]);
    }
}

/// A body that fails half-way leaves what was there before, and its error is told.
pub async fn a_stream_that_fails_leaves_what_was<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    let broken = || {
        let fault = Error::new(ErrorKind::Exhausted, "test", "the source broke");
        let pieces = [Ok(Bytes::from(vec![b'x'; 100_000])), Ok("more".into()), Err(fault)];
        stream::iter(pieces).boxed()
    };
    let (new, old) = (key("b", "new"), key("b", "old"));
    store.put(&old, body(["as it was"])).await.unwrap();
    for k in [&new, &old] {
        expect_kind(store.put(k, broken()).await, ErrorKind::Exhausted, "a body that fails");
    }
    assert_eq!(get(&*store, &new).await, None);
    assert_eq!(get(&*store, &old).await.as_deref(), Some(&b"as it was"[..]));
    assert_eq!(store.list(&new.build).await.unwrap().len(), 1);
}

/// A call that is dropped half-way leaves what was there before.
pub async fn a_cancelled_put_leaves_what_was<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    for polls in 0..12 {
        let (new, old) = (key(&format!("b{polls}"), "new"), key(&format!("b{polls}"), "old"));
        store.put(&old, body(["as it was"])).await.unwrap();
        for k in [&new, &old] {
            // A body that never ends: whatever arrived is a part.
            let first = stream::iter([Ok(Bytes::from(vec![b'x'; 100_000]))]);
            let never = first.chain(stream::pending()).boxed();
            assert!(poll_times(store.put(k, never), polls).await.is_none());
        }
        assert_eq!(get(&*store, &new).await, None, "after {polls} polls");
        assert_eq!(get(&*store, &old).await.as_deref(), Some(&b"as it was"[..]));
        assert_eq!(store.list(&new.build).await.unwrap().len(), 1);
        store.put(&new, body(["now"])).await.unwrap();
    }
}

/// While an artifact is replaced again and again, every reader sees one whole version.
pub async fn readers_see_the_old_or_the_new<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    let k = key("b", "x");
    let version = |i: usize| vec![b'a' + i as u8; 50_000 + i * 1000];
    store.put(&k, body([version(0)])).await.unwrap();
    let writers = (1..10_usize).map(|i| {
        let (store, k) = (store.port(), k.clone());
        let halves = [version(i)[..100].to_vec(), version(i)[100..].to_vec()];
        tokio::spawn(async move { store.put(&k, body(halves)).await.map(drop) })
    });
    let mut writers = Box::pin(join_all(writers));
    let seen = AtomicUsize::new(0);
    let read = async {
        loop {
            let got = get(&*store, &k).await.expect("it was never away");
            let whole = got.iter().all(|b| b == &got[0])
                && got.len() == 50_000 + usize::from(got[0] - b'a') * 1000;
            assert!(whole, "a reader saw a part: {} bytes of {}", got.len(), got[0]);
            seen.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        ended = &mut writers => ended.into_iter().for_each(|w| w.unwrap().unwrap()),
        () = read => {}
    }
}

/// Bytes that are being read stay as they are when the artifact is replaced or forgotten.
pub async fn a_get_goes_on_while_another_put_replaces<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    let (k, old) = (key("b", "x"), vec![b'o'; 400_000]);
    store.put(&k, body([old.clone()])).await.unwrap();
    let mut reading = store.get(&k).await.unwrap();
    let mut got = reading.try_next().await.unwrap().unwrap_or_default().to_vec();
    store.put(&k, body([vec![b'n'; 300_000]])).await.unwrap();
    while let Some(piece) = reading.try_next().await.unwrap() {
        got.extend_from_slice(&piece);
    }
    assert!(got == old, "a reader saw {} bytes of two versions", got.len());
}

/// What was never put is `NotFound`, in a known build too; a list of an unknown build is empty.
pub async fn unknown_is_not_found<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    let missing = async |k: ArtifactKey| match store.get(&k).await {
        Ok(_) => panic!("{k} was never put"),
        Err(e) => assert_eq!(e.kind(), ErrorKind::NotFound, "{e:?}"),
    };
    missing(key("b", "x")).await;
    assert_eq!(store.list(&build("b")).await.unwrap(), []);
    store.put(&key("b", "dir/x"), body(["x"])).await.unwrap();
    for name in ["x", "dir", "dir/x/y", "dir/X"] {
        missing(key("b", name)).await;
    }
}

/// A list holds every artifact of the build once, by name, as `put` told it.
pub async fn a_list_is_by_name<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    let mut expected = Vec::new();
    for name in ["z", "a/b", "a", "m.txt", "a.b", "Z"].iter().filter(|n| **n != "a") {
        expected.push((*name, store.put(&key("b", name), body([*name])).await.unwrap()));
    }
    store.put(&key("other", "a"), body(["other"])).await.unwrap();
    expected.sort_by_key(|(name, _)| *name);
    let expected: Vec<_> = expected.into_iter().map(|(_, artifact)| artifact).collect();
    assert_eq!(store.list(&build("b")).await.unwrap(), expected);
}

/// Names that differ by case, dots or a directory are different artifacts.
pub async fn names_that_are_alike_do_not_mix<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    let keys = ["a/x", "A/x", "a.x", "a_x", "a x", "a/x.tmp", "a%2Fx", "a\\x", ".a", "..a"];
    for name in keys {
        store.put(&key("b", name), body([name])).await.unwrap();
        store.put(&key("B", name), body(["upper"])).await.unwrap();
    }
    for name in keys {
        let got = get(&*store, &key("b", name)).await;
        assert_eq!(got.as_deref(), Some(name.as_bytes()), "{name}");
    }
    assert_eq!(store.list(&build("b")).await.unwrap().len(), keys.len());
}

/// A forgotten build has no artifacts, and forgetting it again succeeds.
pub async fn forgetting_is_thorough_and_repeatable<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    for name in ["x", "dir/y"] {
        store.put(&key("b", name), body(["b"])).await.unwrap();
        store.put(&key("b2", name), body(["b2"])).await.unwrap();
    }
    for _ in 0..2 {
        store.forget(&build("b")).await.unwrap();
        assert_eq!(get(&*store, &key("b", "dir/y")).await, None);
        assert_eq!(store.list(&build("b")).await.unwrap(), []);
        assert_eq!(store.list(&build("b2")).await.unwrap().len(), 2);
    }
    store.put(&key("b", "x"), body(["again"])).await.unwrap();
}

/// The root is no name.
pub async fn an_artifact_has_a_name<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    let result = store.put(&key("b", "."), body(["x"])).await;
    expect_kind(result, ErrorKind::Invalid, "an artifact without a name");
    assert_eq!(store.list(&build("b")).await.unwrap(), []);
}

/// The ids of all caches are told, in order, and those of builds are not, however alike; a forgotten
/// one is told no more.
pub async fn caches_are_listed_and_builds_are_not<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    assert_eq!(store.caches().await.unwrap(), []);
    let owner = Owner::new("ann").expect("a legal owner");
    let cache = |name: &str| CacheKey::new(name).expect("a legal name").build(&owner);
    let mut caches: Vec<_> = ["a", "b", "c", "d"].map(cache).into();
    caches.sort();
    let put = async |build: &BuildId, name: &str| {
        let name = RelPath::new(name).expect("a path below the root");
        let key = ArtifactKey { build: build.clone(), name };
        store.put(&key, body(["x"])).await.expect("an artifact");
    };
    for build in ["A", "b", "cache", "cache-", "cache-1", "cache.x", "cache_x", "caches", "z"] {
        put(&crate::sample::build(build), "x").await;
    }
    for cache in caches.iter().rev() {
        put(cache, CacheKey::ARCHIVE).await;
        put(cache, "dir/more").await;
    }
    assert_eq!(store.caches().await.unwrap(), caches);
    let gone = caches.remove(1);
    store.forget(&gone).await.unwrap();
    assert_eq!(store.caches().await.unwrap(), caches);
    // A list of one that is gone brings nothing back.
    assert_eq!(store.list(&gone).await.unwrap(), []);
    assert_eq!(store.caches().await.unwrap(), caches);
    put(&gone, "used").await;
    assert_eq!(store.caches().await.unwrap().len(), caches.len() + 1);
}

/// For durable stores: what was put is there when the store is opened again.
pub async fn artifacts_outlive_the_process<A: ArtifactStore + ?Sized>(store: Fresh<A>) {
    let artifact = store.put(&key("b", "dir/x"), body(["kept"])).await.unwrap();
    let never = stream::iter([Ok(Bytes::from_static(b"half"))]).chain(stream::pending());
    poll_times(store.put(&key("b", "half"), never.boxed()), 4).await;
    let Some(again) = store.opened_again().await else { return };
    assert_eq!(again.list(&build("b")).await.unwrap(), [artifact]);
    assert_eq!(get(&*again, &key("b", "dir/x")).await.as_deref(), Some(&b"kept"[..]));
}
