//! What the server of the tests never does, by a stand-in before it: a proxy that answers some
//! requests itself, or breaks answers off.

use crate::parts::{Place, body, get, key, long_body, on_the_server};
use futures::TryStreamExt;
use kiln::{ErrorKind, Status, port::ArtifactStore};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use url::Url;

/// What the stand-in does with a request.
enum Does {
    Pass,
    /// Answers with a status and a body.
    Answers(&'static str, String),
    /// Passes only so many bytes of the answer.
    Cuts(u64),
    /// Never says anything.
    Hangs,
    /// Answers a list that never ends.
    Floods,
}

fn error(code: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>so it is</Message></Error>")
}

/// Puts a stand-in before the server. The rule is asked with the first line of every request.
async fn before(place: &mut Place, rule: impl FnMut(&str) -> Does + Send + 'static) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    place.config.proxy = Some(Url::parse(&address).unwrap());
    let server = place.config.endpoint.clone().unwrap();
    let server = format!("{}:{}", server.host_str().unwrap(), server.port().unwrap());
    let rule = Arc::new(Mutex::new(rule));
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (rule, server) = (rule.clone(), server.clone());
            // Whoever asks may hang up at any time.
            tokio::spawn(async move { drop(serve(client, &server, &rule).await) });
        }
    });
}

async fn serve(
    mut client: TcpStream,
    server: &str,
    rule: &Mutex<impl FnMut(&str) -> Does>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let end = request.iter().position(|b| *b == b'\n').unwrap();
    let first = String::from_utf8(request[..end].to_vec()).unwrap();
    let does = rule.lock().unwrap()(&first);
    if let Does::Answers(status, text) = does {
        let length = text.len();
        let head = format!(
            "HTTP/1.1 {status}\r\ndate: Sat, 21 Nov 2026 12:00:00 GMT\r\ncontent-length: {length}\
             \r\nconnection: close\r\n\r\n{text}"
        );
        client.write_all(head.as_bytes()).await?;
        client.shutdown().await?;
        // The rest of the request, or the answer may be lost.
        return tokio::io::copy(&mut client, &mut tokio::io::sink()).await.map(drop);
    }
    if let Does::Hangs = does {
        return std::future::pending().await;
    }
    if let Does::Floods = does {
        client.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n<ListBucketResult>").await?;
        loop {
            client.write_all(&[b' '; 65536]).await?;
        }
    }
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(&request[..=end]).await?;
    upstream.write_all(b"connection: close\r\n").await?;
    upstream.write_all(&request[end + 1..]).await?;
    if let Does::Cuts(bytes) = does {
        let copied = tokio::io::copy(&mut upstream.take(bytes), &mut client).await;
        return copied.map(drop);
    }
    copy_bidirectional(&mut client, &mut upstream).await.map(drop)
}

#[test]
fn a_part_that_is_refused_once_is_sent_again_by_a_stand_in() {
    on_the_server("parts again", async |mut place| {
        let mut seen = HashSet::new();
        before(&mut place, move |first| match first.contains("partNumber=") {
            true if seen.insert(first.to_owned()) => Does::Answers("503 Slow", error("SlowDown")),
            _ => Does::Pass,
        })
        .await;
        let store = place.open();
        let put = store.put(&key("x"), long_body(20 << 20)).await.unwrap();
        let bytes = get(&store, &key("x")).await.unwrap();
        assert_eq!(bytes.len() as u64, put.bytes);
    });
}

#[test]
fn a_download_that_breaks_off_is_read_on_by_a_stand_in() {
    on_the_server("read on", async |mut place| {
        let mut times = 0;
        before(&mut place, move |first| {
            let content = first.starts_with("GET") && first.contains("/contents/");
            times += u32::from(content);
            if content && times <= 2 { Does::Cuts(1_000_000) } else { Does::Pass }
        })
        .await;
        let store = place.open();
        store.put(&key("x"), long_body(4 << 20)).await.unwrap();
        let bytes = get(&store, &key("x")).await.unwrap();
        let expected: Vec<_> = long_body(4 << 20).try_collect().await.unwrap();
        assert!(bytes == expected.concat(), "{} other bytes", bytes.len());
    });
}

#[test]
fn a_full_server_is_exhausted_and_what_was_stays_by_a_stand_in() {
    for (status, code) in [("507 Full", "Full"), ("400 Bad", "XMinioStorageFull")] {
        on_the_server("full", async move |mut place| {
            let old = place.open();
            old.put(&key("x"), body("as it was")).await.unwrap();
            before(&mut place, move |first| match first.starts_with("PUT") {
                true => Does::Answers(status, error(code)),
                false => Does::Pass,
            })
            .await;
            let store = place.open();
            for bytes in [10, 20 << 20] {
                let e = store.put(&key("x"), long_body(bytes)).await.unwrap_err();
                assert_eq!(e.kind(), ErrorKind::Exhausted, "{e:?}");
                assert!(e.hint_text().unwrap().contains("Make room"));
            }
            assert_eq!(get(&store, &key("x")).await.unwrap(), b"as it was");
            assert_eq!(place.keys().await.len(), 2);
        });
    }
}

#[test]
fn a_put_into_no_bucket_says_what_to_do_by_a_stand_in() {
    on_the_server("no bucket", async |mut place| {
        let answer = || Does::Answers("404 Not Found", error("NoSuchBucket"));
        before(&mut place, move |_| answer()).await;
        let store = place.open();
        let errors = [
            store.put(&key("x"), body("x")).await.unwrap_err(),
            store.get(&key("x")).await.err().unwrap(),
        ];
        for e in errors {
            assert_eq!(e.kind(), ErrorKind::Invalid, "{e:?}");
            assert!(e.hint_text().unwrap().contains("Create the bucket"), "{e:?}");
        }
    });
}

#[test]
fn a_clock_that_differs_is_told_by_a_stand_in() {
    on_the_server("clock", async |mut place| {
        let answer = || Does::Answers("403 Forbidden", error("RequestTimeTooSkewed"));
        before(&mut place, move |_| answer()).await;
        let e = place.open().check().await.unwrap_err();
        assert_eq!((e.kind(), e.retry_status()), (ErrorKind::Denied, Status::Permanent));
        assert!(e.to_string().contains("12:00:00"), "{e}");
        assert!(e.hint_text().unwrap().contains("clock"), "{e:?}");
    });
}

#[test]
fn a_server_that_says_nothing_is_a_timeout_by_a_stand_in() {
    on_the_server("silent", async |mut place| {
        place.config.patience = Duration::from_secs(1);
        before(&mut place, |_| Does::Hangs).await;
        let store = place.open();
        let errors = [
            store.check().await.unwrap_err(),
            store.get(&key("x")).await.err().unwrap(),
            store.put(&key("x"), body("x")).await.unwrap_err(),
        ];
        for e in errors {
            assert_eq!((e.kind(), e.retry_status()), (ErrorKind::Timeout, Status::Temporary));
        }
    });
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end_by_a_stand_in() {
    on_the_server("flood", async |mut place| {
        before(&mut place, |_| Does::Floods).await;
        let e = place.open().check().await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unexpected, "{e:?}");
    });
}

#[test]
fn an_upload_that_fails_when_it_is_joined_leaves_nothing_by_a_stand_in() {
    on_the_server("joined", async |mut place| {
        before(&mut place, |first| {
            let joins = first.starts_with("POST") && first.contains("uploadId=");
            // A server answers 200 before it knows how joining the parts ends.
            if joins { Does::Answers("200 OK", error("InternalError")) } else { Does::Pass }
        })
        .await;
        let store = place.open();
        let e = store.put(&key("x"), long_body(20 << 20)).await.unwrap_err();
        assert_eq!((e.kind(), e.retry_status()), (ErrorKind::Unavailable, Status::Temporary));
        assert_eq!(place.keys().await, [""; 0]);
    });
}
