//! How much a client may ask.

use crate::server::{ByName, Server};
use axum::{
    body::{Body, Bytes},
    extract::ConnectInfo,
    http::{Request, StatusCode},
};
use futures::{StreamExt, stream};
use kiln_api_native::{Everybody, Rate, Settings};
use std::{io, net::SocketAddr, time::Duration};

async fn knock(server: &Server, peer: &str, token: &str) -> (StatusCode, Option<String>) {
    let request = Request::get("/api/v1/whoami").header("authorization", format!("Bearer {token}"));
    let mut request = request.body(Body::empty()).unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = server.send(request).await;
    let wait = response.headers().get("retry-after").map(|h| h.to_str().unwrap().to_owned());
    (response.status(), wait)
}

fn few() -> Settings {
    let mut settings = Settings::default();
    settings.requests = Rate { burst: 3, per_minute: 1 };
    settings.failures = Rate { burst: 2, per_minute: 1 };
    settings
}

#[test]
fn a_token_has_so_many_requests() {
    kiln_conformance::run("limits", async {
        let server = Server::with(ByName, |api| api.settings(few()));
        for _ in 0..3 {
            assert_eq!(knock(&server, "10.0.0.1:1", "ann-read").await.0, StatusCode::OK);
        }
        // From wherever; and it is told when to come again.
        let (status, wait) = knock(&server, "10.0.0.2:1", "ann-read").await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        let wait: u64 = wait.unwrap().parse().unwrap();
        assert!((1..=61).contains(&wait), "{wait}");
        assert_eq!(knock(&server, "10.0.0.1:1", "bob-read").await.0, StatusCode::OK);
        server.end().await;
    });
}

#[test]
fn whoever_guesses_is_not_heard_and_locks_nobody_out() {
    kiln_conformance::run("limits", async {
        let server = Server::with(ByName, |api| api.settings(few()));
        assert_eq!(knock(&server, "10.0.0.1:1", "ann-read").await.0, StatusCode::OK);
        for _ in 0..2 {
            let (status, _) = knock(&server, "10.0.0.1:2", "guess").await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
        }
        // Not even a good guess is heard now.
        for token in ["guess", "bob-read"] {
            let (status, wait) = knock(&server, "10.0.0.1:3", token).await;
            assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{token}");
            assert!(wait.is_some());
        }
        assert_eq!(knock(&server, "10.0.0.1:4", "ann-read").await.0, StatusCode::OK);
        assert_eq!(knock(&server, "10.0.0.9:1", "bob-read").await.0, StatusCode::OK);
        server.end().await;
    });
}

#[test]
fn a_body_that_stops_or_trickles_is_not_waited_for() {
    kiln_conformance::run("limits", async {
        let mut settings = Settings::default();
        settings.body_wait = Duration::from_millis(100);
        let server = Server::with(Everybody, |api| api.settings(settings));
        let stops = stream::iter([Ok::<_, io::Error>(Bytes::from("{"))]).chain(stream::pending());
        // Each piece comes soon after the one before, and there is no end of them.
        let trickles = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Some((Ok::<_, io::Error>(Bytes::from(" ")), ()))
        });
        for body in [Body::from_stream(stops), Body::from_stream(trickles)] {
            let request =
                Request::post("/api/v1/builds").header("content-type", "application/json");
            let response = server.send(request.body(body).unwrap()).await;
            assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        }
        server.end().await;
    });
}
