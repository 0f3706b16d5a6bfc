//! Names that somebody chose to do harm, and payloads that are none.

use crate::server::{Server, golden, hook, signed};
use axum::http::{HeaderValue, StatusCode};
use kiln::Op;
use kiln_api_forge::{Forge, HookConfig};
use serde_json::{Value, json};

#[tokio::test]
async fn odd_names_of_branches_are_only_data() {
    let server = Server::new(Forge::GitHub);
    let mut tags = Vec::new();
    for branch in ["größe/ü", "$(id)", "`id`", "--upload-pack=touch", "a/b", "a-b", "'; DROP"] {
        let mut body: Value = serde_json::from_str(&golden("github/push.json")).unwrap();
        body["ref"] = json!(format!("refs/heads/{branch}"));
        let (status, answer) = server.send("push", &body.to_string()).await;
        if branch.contains(' ') {
            assert_eq!(status, StatusCode::ACCEPTED, "{branch}: {answer}");
            continue;
        }
        assert_eq!(status, StatusCode::CREATED, "{branch}: {answer}");
        let build = server.build(&answer).await;
        assert_eq!(build.labels()["kiln.branch"], branch);
        let [fetch, .., push] = build.plan().steps() else { panic!("{build:?}") };
        let (Op::Fetch { source, .. }, Op::Push { to, .. }) = (&fetch.op, &push.op) else {
            panic!("{build:?}")
        };
        assert!(!format!("{source:?}").contains(branch), "{source:?}");
        tags.push(to.to_string());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 6, "{tags:?}");
}

#[tokio::test]
async fn a_name_that_is_no_name_starts_nothing() {
    let server = Server::new(Forge::GitHub);
    let odd = [
        ("ref", json!("refs/heads/$(rm -rf /)")),
        ("ref", json!("refs/heads/a..b")),
        ("ref", json!("refs/notes/x")),
        ("after", json!("--upload-pack=x")),
        ("after", json!("main")),
        ("after", json!("0".repeat(40))),
    ];
    for (key, value) in odd {
        let mut body: Value = serde_json::from_str(&golden("github/push.json")).unwrap();
        body[key] = value;
        let (status, answer) = server.send("push", &body.to_string()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    }
    for (key, value) in [
        ("full_name", "acme/../evil"),
        ("full_name", "evil/app"),
        ("clone_url", "https://github.com/evil/app.git"),
        ("clone_url", "https://github.com.evil.test/acme/app.git"),
        ("clone_url", "https://evil.test/github.com/acme/app.git"),
        ("clone_url", "https://github.com@evil.test/acme/app.git"),
        ("clone_url", "https://github.com:8443/acme/app.git"),
        ("clone_url", "http://github.com/acme/app.git"),
        ("clone_url", "file:///acme/app.git"),
        ("clone_url", "ext::sh -c id/acme/app"),
        ("clone_url", "https://github.com/evil/../acme/app.git"),
        ("clone_url", "https://github.com/evil%2f..%2facme/acme/app?"),
    ] {
        let mut body: Value = serde_json::from_str(&golden("github/push.json")).unwrap();
        body["repository"][key] = json!(value);
        let (status, answer) = server.send("push", &body.to_string()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{value}: {answer}");
    }
    assert_eq!(server.queued().await, 0);
}

#[tokio::test]
async fn what_is_no_payload_is_told_as_a_problem() {
    let server = Server::new(Forge::GitHub);
    for body in ["", "{", "[]", "null", "{\"ref\": 1}", &"[".repeat(100_000), "\u{0}"] {
        let (status, answer) = server.send("push", body).await;
        let shown: String = body.chars().take(20).collect();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{shown}");
        assert_eq!(answer["status"], json!(400), "{answer}");
    }
    let (status, _) = server.send("issues", "{").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let huge = format!("{{\"a\": \"{}\"}}", "x".repeat(6 << 20));
    assert_eq!(server.send("push", &huge).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let body = golden("github/push.json");
    let mut form = signed(Forge::GitHub, "push", &body);
    form.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
    assert_eq!(server.post("app", form, &body).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let headers = signed(Forge::GitHub, "push", &body);
    assert_eq!(server.post("other", headers, &body).await.0, StatusCode::NOT_FOUND);
    let mut twice = signed(Forge::GitHub, "push", &body);
    twice.append("x-github-event", HeaderValue::from_static("ping"));
    assert_eq!(server.post("app", twice, &body).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(server.queued().await, 0);
}

/// Every place of a payload, as a JSON pointer.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), into));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(i, value)| places(value, &format!("{at}/{i}"), into));
        }
        _ => {}
    }
}

#[tokio::test]
async fn no_payload_that_is_bent_anywhere_breaks_anything() {
    let odd = [json!(null), json!(-1), json!(""), json!("../x"), json!([]), json!({}), json!([{}])];
    for (forge, event, file) in [
        (Forge::GitHub, "push", "github/push.json"),
        (Forge::GitHub, "pull_request", "github/pull_request.json"),
        (Forge::GitLab, "Push Hook", "gitlab/push.json"),
        (Forge::GitLab, "Merge Request Hook", "gitlab/merge_request.json"),
        (Forge::Gitea, "push", "gitea/push.json"),
        (Forge::Gitea, "pull_request", "gitea/pull_request.json"),
    ] {
        let server = Server::of(HookConfig { forks: true, ..hook(forge) });
        let whole: Value = serde_json::from_str(&golden(file)).unwrap();
        let mut at = Vec::new();
        places(&whole, "", &mut at);
        for (place, value) in at.iter().flat_map(|place| odd.iter().map(move |v| (place, v))) {
            let mut bent = whole.clone();
            *bent.pointer_mut(place).unwrap() = value.clone();
            let (status, answer) = server.send(event, &bent.to_string()).await;
            assert!(
                matches!(status.as_u16(), 200..=202 | 400),
                "{file}: {value} at {place}: {status} {answer}"
            );
            if answer["build"].is_string() {
                let repo = server.build(&answer).await.labels()["kiln.repo"].clone();
                assert!(repo.starts_with("acme/"), "{file}: {value} at {place}: {repo}");
            }
        }
    }
}
