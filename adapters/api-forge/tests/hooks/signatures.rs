//! Requests that are not from whom they say.

use crate::server::{SECRET, Server, bare, golden, hex_mac, hook, signed, standard};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use kiln_api_forge::{Forge, HookConfig};

#[tokio::test]
async fn who_knows_no_secret_learns_nothing_and_starts_nothing() {
    for (forge, event, file) in [
        (Forge::GitHub, "push", "github/push.json"),
        (Forge::Gitea, "push", "gitea/push.json"),
        (Forge::GitLab, "Push Hook", "gitlab/push.json"),
    ] {
        let (server, body) = (Server::new(forge), golden(file));
        let good = signed(forge, event, &body);
        let name = ["x-hub-signature-256", "x-gitea-signature", "x-gitlab-token"]
            .into_iter()
            .find(|n| good.contains_key(*n))
            .unwrap();
        let given = good[name].to_str().unwrap().to_owned();
        let prefix = if forge == Forge::GitHub { "sha256=" } else { "" };
        let other = hex_mac(b"not the secret", body.as_bytes());
        let mut tries: Vec<HeaderMap> = Vec::new();
        for forged in [
            String::new(),
            "sha256=".into(),
            format!("{prefix}{other}"),
            given[..given.len() - 2].to_owned(),
            format!("{given}00"),
            given.replace("sha256=", "sha1="),
            given.replace("sha256=", "sha512="),
            format!("{given}, {given}"),
            format!("{prefix}{}", "0".repeat(64)),
            format!("{prefix}{}", "é".repeat(32)),
        ] {
            if forged == given {
                continue;
            }
            let mut headers = bare(forge, event);
            headers.insert(name, HeaderValue::from_str(&forged).unwrap());
            tries.push(headers);
        }
        tries.push(bare(forge, event));
        let mut twice = good.clone();
        twice.append(name, good[name].clone());
        tries.push(twice);
        // The old way of GitHub, which is not asked for.
        let mut old = bare(forge, event);
        old.insert("x-hub-signature", HeaderValue::from_static("sha1=00"));
        tries.push(old);
        let mut answers = Vec::new();
        for headers in tries {
            let shown = format!("{headers:?}");
            let (status, answer) = server.post("app", headers, &body).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{shown}");
            answers.push(answer);
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "the answer tells what was wrong: {answers:?}");
        assert_eq!(server.queued().await, 0);
        if forge != Forge::GitLab {
            let changed = body.replace("acme/app", "acme/ap2");
            for other in [changed.as_str(), &body[..body.len() - 2], &format!("{body} "), ""] {
                let (status, _) = server.post("app", good.clone(), other).await;
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{other}");
            }
        }
    }
}

#[tokio::test]
async fn gitea_may_sign_like_github_and_must_sign_rightly_in_both_ways() {
    let (server, body) = (Server::new(Forge::Gitea), golden("gitea/push.json"));
    let good = hex_mac(SECRET, body.as_bytes());
    let like_github = HeaderValue::from_str(&format!("sha256={good}")).unwrap();
    let mut headers = bare(Forge::Gitea, "push");
    headers.insert("x-hub-signature-256", like_github.clone());
    assert_eq!(server.post("app", headers.clone(), &body).await.0, StatusCode::CREATED);
    let wrong = HeaderValue::from_str(&"0".repeat(64)).unwrap();
    headers.insert("x-gitea-signature", wrong);
    assert_eq!(server.post("app", headers, &body).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_signing_token_of_gitlab_needs_a_signature_of_now() {
    let key = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=";
    let (server, body) =
        (Server::with_secret(hook(Forge::GitLab), key), golden("gitlab/push.json"));
    let now = server.now();
    let send = async |id: &str, time: u64, key: &str, body: &str| {
        let headers = standard(id, time, key, body);
        server.post("app", headers, body).await.0
    };
    assert_eq!(send("a", now, key, &body).await, StatusCode::CREATED);
    assert_eq!(send("a", now - 200, key, &body).await, StatusCode::OK, "sent again by GitLab");
    for (id, time, key) in [
        ("a", now - 301, key),
        ("a", now + 301, key),
        ("a.1", now, key),
        ("a", now, "whsec_AAAAdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q="),
    ] {
        assert_eq!(send(id, time, key, &body).await, StatusCode::UNAUTHORIZED, "{id} {time}");
    }
    // The same signature under another id or time is none.
    for (name, value) in [("webhook-id", "b"), ("webhook-timestamp", &(now + 1).to_string())] {
        let mut headers = standard("a", now, key, &body);
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        assert_eq!(server.post("app", headers, &body).await.0, StatusCode::UNAUTHORIZED, "{name}");
    }
    // In the open it would be known to whoever reads along.
    let mut headers = bare(Forge::GitLab, "Push Hook");
    headers.insert("x-gitlab-token", HeaderValue::from_static(key));
    assert_eq!(server.post("app", headers, &body).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_empty_or_missing_secret_lets_nobody_in() {
    let body = golden("github/push.json");
    let server = Server::with_secret(hook(Forge::GitHub), "\n");
    let mut headers = bare(Forge::GitHub, "push");
    let mac = format!("sha256={}", hex_mac(b"", body.as_bytes()));
    headers.insert("x-hub-signature-256", HeaderValue::from_str(&mac).unwrap());
    assert_eq!(server.post("app", headers.clone(), &body).await.0, StatusCode::UNAUTHORIZED);
    let config =
        HookConfig { secret: kiln::SecretRef::new("none").unwrap(), ..hook(Forge::GitHub) };
    let (status, answer) = Server::of(config).post("app", headers, &body).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.to_string().contains("none"), "{answer}");
}
