//! What crashes leave, and what takes it away.

use crate::parts::{body, build, get, key, long_body, on_the_server};
use bytes::Bytes;
use futures::{StreamExt, stream};
use kiln::port::ArtifactStore;
use kiln_s3::Swept;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn what_was_replaced_goes_when_it_is_old_and_nothing_else() {
    on_the_server("replaced", async |place| {
        let store = place.open();
        for text in ["first", "second", "third"] {
            store.put(&key("x"), body(text)).await.unwrap();
        }
        store.put(&key("y"), body("another")).await.unwrap();
        assert_eq!(store.sweep(DAY).await.unwrap(), Swept::default());
        assert_eq!(place.keys().await.len(), 6);
        let swept = store.sweep(Duration::ZERO).await.unwrap();
        assert_eq!(swept, Swept { uploads: 0, contents: 2, bytes: 11 });
        assert_eq!(store.sweep(Duration::ZERO).await.unwrap(), Swept::default());
        assert_eq!(place.keys().await.len(), 4);
        assert_eq!(get(&store, &key("x")).await.unwrap(), b"third");
        assert_eq!(get(&store, &key("y")).await.unwrap(), b"another");
    });
}

/// Puts an upload of many parts that never ends, and waits until it has begun.
fn begin(place: &crate::parts::Place, runtime: &tokio::runtime::Runtime) {
    let store = place.open();
    let never = long_body(40 << 20).chain(stream::pending());
    let put = async move { store.put(&key("x"), never.boxed()).await };
    let put = runtime.spawn(put);
    runtime.block_on(async {
        while !place.keys().await.iter().any(|key| key.starts_with("_uploads/")) {
            assert!(!put.is_finished(), "{:?}", put.await);
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn an_upload_of_a_process_that_died_is_ended() {
    let Some(place) = crate::parts::place("an_upload_of_a_process_that_died_is_ended") else {
        return;
    };
    // The runtime goes away under the upload, as with a process that is killed.
    let dying = tokio::runtime::Runtime::new().unwrap();
    begin(&place, &dying);
    dying.shutdown_timeout(Duration::from_secs(5));
    kiln_conformance::run("swept", async move {
        let store = place.open();
        assert_eq!(place.keys().await.len(), 1, "it should not have been ended yet");
        assert_eq!(store.sweep(DAY).await.unwrap().uploads, 0);
        assert_eq!(store.sweep(Duration::ZERO).await.unwrap().uploads, 1);
        assert_eq!(place.keys().await, [""; 0]);
        assert_eq!(store.list(&build("b")).await.unwrap(), []);
    });
}

#[test]
fn an_upload_that_is_cancelled_or_fails_leaves_nothing() {
    on_the_server("cancelled", async |place| {
        let store = place.open();
        let never = long_body(40 << 20).chain(stream::pending()).boxed();
        let x = key("x");
        let mut put = Box::pin(store.put(&x, never));
        loop {
            tokio::select! {
                ended = &mut put => panic!("{ended:?}"),
                keys = place.keys() => if !keys.is_empty() { break },
            }
        }
        drop(put);
        while !place.keys().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let fault = kiln::Error::new(kiln::ErrorKind::Failed, "test", "the source broke");
        let broken = long_body(40 << 20).chain(stream::iter([Ok(Bytes::from("x")), Err(fault)]));
        let e = store.put(&key("x"), broken.boxed()).await.unwrap_err();
        assert_eq!(e.kind(), kiln::ErrorKind::Failed);
        assert_eq!(place.keys().await, [""; 0]);
    });
}
