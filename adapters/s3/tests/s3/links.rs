//! Links, followed by somebody who knows no key.

use crate::parts::{body, key, on_the_server};
use kiln::{ErrorKind, port::ArtifactStore};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use url::Url;

const HOUR: Duration = Duration::from_secs(3600);

/// Fetches an address with nothing but what is in it; the answer with its head.
async fn fetch(address: &str) -> String {
    let url = Url::parse(address).unwrap();
    let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let mut stream = TcpStream::connect(&host).await.unwrap();
    let (path, query) = (url.path(), url.query().unwrap());
    let request =
        format!("GET {path}?{query} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_link_is_all_one_needs_and_nothing_else_is_had_by_it() {
    on_the_server("links", async |place| {
        let store = place.open();
        store.put(&key("dir/a b.txt"), body("what was built")).await.unwrap();
        let link = store.presign(&key("dir/a b.txt"), HOUR).await.unwrap();
        let answer = fetch(link.expose()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with("what was built"), "{answer}");
        assert!(link.expose().contains("a%2520b.txt"), "{}", link.expose());
        assert_eq!(format!("{link:?}"), "Link(***)");
        // What it leads to stays while it is replaced.
        store.put(&key("dir/a b.txt"), body("anew")).await.unwrap();
        assert!(fetch(link.expose()).await.ends_with("what was built"));
        let bent = link.expose().replace("/contents/", "/artifacts/");
        assert!(fetch(&bent).await.starts_with("HTTP/1.1 403"));
    });
}

#[test]
fn a_link_ends() {
    on_the_server("a_link_ends", async |place| {
        let store = place.open();
        store.put(&key("x"), body("x")).await.unwrap();
        let link = store.presign(&key("x"), Duration::from_secs(1)).await.unwrap();
        // Times are whole seconds, and the server alone says when one is over.
        while !fetch(link.expose()).await.starts_with("HTTP/1.1 403") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let kind = async |name, time| store.presign(&key(name), time).await.unwrap_err().kind();
        assert_eq!(kind("x", Duration::ZERO).await, ErrorKind::Invalid);
        assert_eq!(kind("x", HOUR * 200).await, ErrorKind::Invalid);
        assert_eq!(kind("y", HOUR).await, ErrorKind::NotFound);
    });
}

#[test]
fn a_link_may_name_another_server() {
    on_the_server("a_link_may_name_another_server", async |mut place| {
        place.config.links = Some(Url::parse("https://files.example.com").unwrap());
        let store = place.open();
        store.put(&key("x"), body("x")).await.unwrap();
        let link = store.presign(&key("x"), HOUR).await.unwrap();
        let bucket = format!("https://files.example.com/{}/", place.config.bucket);
        assert!(link.expose().starts_with(&bucket), "{}", link.expose());
    });
}
