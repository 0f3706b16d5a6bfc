//! Images that have to be pulled, from registries that refuse.

use crate::parts::{bench, name};
use kiln::{BoxSpec, ErrorKind, ImageRef, port::Runtime};
use kiln_conformance::step::TestStep;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A registry that answers everything with a status; returns its port.
pub(crate) async fn refusing_registry(status: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let code = if status == 404 { "MANIFEST_UNKNOWN" } else { "UNAUTHORIZED" };
    let text = if status == 404 { "manifest unknown" } else { "authentication required" };
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{text}"}}]}}"#);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut request, body) = ([0; 4096], body.clone());
            tokio::spawn(async move {
                let n = stream.read(&mut request).await.unwrap_or(0);
                // The engine asks for the version of the API first.
                let is_version = request[..n].windows(9).any(|w| w == b"GET /v2/ ");
                let (status, body) = match (status, is_version) {
                    (404, true) => (200, "{}".to_owned()),
                    _ => (status, body),
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n\
                     WWW-Authenticate: Basic realm=\"x\"\r\n\
                     Docker-Distribution-Api-Version: registry/2.0\r\n\
                     Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
                );
                // Whether the engine still listens is its own affair.
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_needs_credentials_is_denied() {
    let Some(bench) = bench("an_image_that_needs_credentials_is_denied").await else { return };
    let image = format!("localhost:{}/private:1", refusing_registry(401).await);
    let step = TestStep::new();
    let spec = BoxSpec::new(ImageRef::parse(&image).unwrap());
    let e = bench.runtime.start(step.cx(), &name("main"), &spec).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Denied, "{e:?}");
    assert!(e.to_string().contains(&image), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_down_is_unavailable() {
    let Some(bench) = bench("a_registry_that_is_down_is_unavailable").await else { return };
    let step = TestStep::new();
    let spec = BoxSpec::new(ImageRef::parse("localhost:1/none:1").unwrap());
    let e = bench.runtime.start(step.cx(), &name("main"), &spec).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
}
