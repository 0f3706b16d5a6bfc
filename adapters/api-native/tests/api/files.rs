//! Artifacts: listed, fetched whole and in part.

use crate::server::{ByName, Server, say};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use kiln::{BuildId, RelPath, port::ArtifactKey};
use kiln_api_native::Everybody;
use serde_json::{Value, json};

/// Ten digits in pieces of three.
const DIGITS: &[u8] = b"0123456789";

async fn with_file(server: &Server, token: &str, name: &str) -> String {
    let (status, made) = server.ask("POST", "/api/v1/builds", token, say("x")).await;
    assert_eq!(status, StatusCode::CREATED);
    let build = made["build"].as_str().unwrap().to_owned();
    let key =
        ArtifactKey { build: BuildId::new(&build).unwrap(), name: RelPath::new(name).unwrap() };
    let pieces = stream::iter(DIGITS.chunks(3).map(|c| Ok(Bytes::copy_from_slice(c)))).boxed();
    server.engine.tools().artifacts.put(&key, pieces).await.unwrap();
    format!("/api/v1/builds/{build}/artifacts")
}

async fn fetch(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = server.send(request.body(Body::empty()).unwrap()).await;
    let (status, headers) = (response.status(), response.headers().clone());
    (status, headers, response.into_body().collect().await.unwrap().to_bytes())
}

#[test]
fn an_artifact_is_fetched_as_it_was_kept() {
    kiln_conformance::run("files", async {
        let server = Server::new(Everybody);
        let path = with_file(&server, "", "out/a \"b\".tar").await;
        let listed = server.get(&path).await;
        assert_eq!(listed["artifacts"][0]["name"], "out/a \"b\".tar");
        assert_eq!(listed["artifacts"][0]["bytes"], 10);
        let digest = listed["artifacts"][0]["digest"].as_str().unwrap();
        let path = format!("{path}/out/a%20%22b%22.tar");
        let (status, headers, bytes) = fetch(&server, "GET", &path, &[]).await;
        assert_eq!((status, &bytes[..]), (StatusCode::OK, DIGITS));
        assert_eq!(headers[header::CONTENT_LENGTH], "10");
        assert_eq!(headers[header::ETAG], format!("\"{digest}\""));
        assert_eq!(
            headers["repr-digest"],
            // As `printf 0123456789 | openssl dgst -sha256 -binary | base64` says.
            "sha-256=:hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=:"
        );
        let saved = headers[header::CONTENT_DISPOSITION].to_str().unwrap();
        assert!(saved.starts_with("attachment; filename=\"a__b_.tar\""), "{saved}");
        let (status, headers, bytes) = fetch(&server, "HEAD", &path, &[]).await;
        assert_eq!((status, bytes.len()), (StatusCode::OK, 0));
        assert_eq!(headers[header::CONTENT_LENGTH], "10");
        let tag = format!("\"{digest}\"");
        let (status, _, bytes) = fetch(&server, "GET", &path, &[("if-none-match", &tag)]).await;
        assert_eq!((status, bytes.len()), (StatusCode::NOT_MODIFIED, 0));
        server.end().await;
    });
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    kiln_conformance::run("files", async {
        let server = Server::new(Everybody);
        let path = with_file(&server, "", "a").await + "/a";
        let part = async |range: &str| {
            let (status, headers, bytes) = fetch(&server, "GET", &path, &[("range", range)]).await;
            let told = headers.get("content-range").map(|h| h.to_str().unwrap().to_owned());
            (status.as_u16(), told.unwrap_or_default(), String::from_utf8(bytes.to_vec()).unwrap())
        };
        for first in 0..10 {
            for last in first..10 {
                let told = format!("bytes {first}-{last}/10");
                let expected = String::from_utf8(DIGITS[first..=last].to_vec()).unwrap();
                assert_eq!(part(&format!("bytes={first}-{last}")).await, (206, told, expected));
            }
        }
        assert_eq!(part("bytes=-2").await.2, "89");
        assert_eq!(part("bytes=10-").await.0, 416);
        let (_, headers, _) = fetch(&server, "HEAD", &path, &[]).await;
        let tag = headers[header::ETAG].to_str().unwrap().to_owned();
        for (tag, expected) in [(tag.as_str(), 206), ("\"sha256:0\"", 200)] {
            let headers = [("range", "bytes=4-"), ("if-range", tag)];
            assert_eq!(fetch(&server, "GET", &path, &headers).await.0.as_u16(), expected);
        }
        server.end().await;
    });
}

#[test]
fn nobody_else_and_no_trick_reaches_an_artifact() {
    kiln_conformance::run("files", async {
        let server = Server::new(ByName);
        let path = with_file(&server, "ann-submit", "a").await;
        for (token, expected) in [
            ("ann-read", StatusCode::OK),
            ("bob-read", StatusCode::NOT_FOUND),
            ("ann-agent", StatusCode::FORBIDDEN),
            ("", StatusCode::UNAUTHORIZED),
        ] {
            for path in [path.clone(), format!("{path}/a")] {
                assert_eq!(server.ask("GET", &path, token, Value::Null).await.0, expected);
            }
        }
        for name in
            ["b", "../a", "..%2fa", "%2e%2e/a", "%00", "%2fetc%2fpasswd", "%ff", "a/../../x"]
        {
            let path = format!("{path}/{name}");
            let (status, problem) = server.ask("GET", &path, "ann-read", Value::Null).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{name}: {problem}");
            assert_eq!(problem["code"], json!("not_found"), "{name}");
        }
        server.end().await;
    });
}
