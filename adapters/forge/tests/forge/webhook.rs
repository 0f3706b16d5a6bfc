use crate::receiver::{Answer, Receiver, clock, finished, notice, secret, secrets};
use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use kiln::{
    BuildId, ErrorKind, Event, Outcome, Owner, Result, Seq, Status,
    port::{Notice, Notifier},
};
use kiln_conformance::{
    Fresh,
    notifier::Told,
    sample::{events, summary},
};
use kiln_forge::{On, Webhook, WebhookConfig};
use serde_json::Value;
use sha2::Sha256;
use std::{path::PathBuf, sync::Arc};

const ALL: [On; 12] = [
    On::Accepted,
    On::Adopted,
    On::StepReused,
    On::StepStarted,
    On::StepPinned,
    On::StepTimedOut,
    On::StepSucceeded,
    On::StepFailed,
    On::StepDue,
    On::StepSkipped,
    On::CancelRequested,
    On::Finished,
];

fn config(url: &str) -> WebhookConfig {
    WebhookConfig {
        url: url.into(),
        secret: secret("token"),
        owner: None,
        events: vec![On::Accepted, On::Finished],
        allow_private_network: true,
        allow_http: true,
    }
}

fn webhook(config: WebhookConfig) -> Webhook {
    Webhook::new(config, secrets(), clock()).unwrap()
}

/// A webhook and who listens to it.
#[derive(Debug)]
struct Heard(Webhook, Receiver);

#[async_trait]
impl Notifier for Heard {
    async fn notify(&self, notice: &Notice) -> Result<()> {
        self.0.notify(notice).await
    }
}

impl Told for Heard {
    fn told(&self) -> Vec<(BuildId, Seq)> {
        let of = |body: Value| {
            let build = BuildId::new(body["build"]["id"].as_str().unwrap()).unwrap();
            (build, Seq(body["seq"].as_u64().unwrap()))
        };
        self.1.requests().iter().map(|r| of(r.json())).collect()
    }
}

async fn heard() -> Fresh<Heard> {
    let receiver = Receiver::start(&[]).await;
    let all = WebhookConfig { events: ALL.into(), ..config(&receiver.url("/kiln")) };
    Fresh::new(Arc::new(Heard(webhook(all), receiver)))
}

mod promises {
    use super::*;
    kiln_conformance::notifier_suite!(heard().await);
}

#[tokio::test]
async fn a_request_is_signed_so_that_a_receiver_can_tell() {
    let receiver = Receiver::start(&[]).await;
    let webhook = webhook(config(&receiver.url("/kiln?x=1")));
    webhook.notify(&finished(Outcome::Succeeded)).await.unwrap();
    webhook.notify(&finished(Outcome::Succeeded)).await.unwrap();
    let [first, second] = &receiver.requests()[..] else { panic!() };
    assert_eq!(first.line, "POST /kiln?x=1 HTTP/1.1");
    assert_eq!(first.headers["content-type"], "application/json");
    assert_eq!(first.headers["webhook-id"], second.headers["webhook-id"]);
    assert_eq!(first.body, second.body);
    let (id, time) = (&first.headers["webhook-id"], &first.headers["webhook-timestamp"]);
    let mac = Hmac::<Sha256>::new_from_slice(b"t0ken").unwrap();
    let mac = mac.chain_update(format!("{id}.{time}.")).chain_update(&first.body);
    let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(first.headers["webhook-signature"], expected);
    let now = clock().now().0 / 1000;
    assert!(now.abs_diff(time.parse().unwrap()) < 60, "{time} is not in seconds");
}

/// The bodies of all events, as they are kept: `KILN_BLESS=1` writes them.
#[tokio::test]
async fn the_body_is_what_the_golden_file_says() {
    let heard = heard().await;
    for (i, event) in events().into_iter().enumerate() {
        let mut build = summary("b1", 5);
        if let Event::Finished { outcome } = &event {
            (build.outcome, build.phase) = (Some(outcome.clone()), kiln::Phase::Finished);
            build.finished_at = Some(kiln::Timestamp(9));
        }
        let seq = Seq(i as u64 + 1);
        heard.notify(&Notice { build, seq, event }).await.unwrap();
    }
    let bodies: Vec<Value> = heard.1.requests().iter().map(|r| r.json()).collect();
    let text = serde_json::to_string_pretty(&bodies).unwrap() + "\n";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/notify/v1.json");
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(path).unwrap());
}

#[tokio::test]
async fn only_what_is_asked_for_is_told() {
    let receiver = Receiver::start(&[]).await;
    let team =
        WebhookConfig { owner: Some(Owner::new("team").unwrap()), ..config(&receiver.url("/")) };
    let other = WebhookConfig { owner: Some(Owner::new("other").unwrap()), ..team.clone() };
    let due = notice(Event::StepDue { step: kiln::StepId(0) });
    assert!(!webhook(team.clone()).wants(&due.event));
    webhook(team.clone()).notify(&due).await.unwrap();
    webhook(other).notify(&finished(Outcome::Succeeded)).await.unwrap();
    assert!(receiver.requests().is_empty());
    webhook(team).notify(&finished(Outcome::Succeeded)).await.unwrap();
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn what_a_receiver_answers_says_whether_to_try_again() {
    for (answer, kind, status) in [
        (Answer::Status(500, "t0ken leaked"), ErrorKind::Unavailable, Status::Temporary),
        (Answer::Status(404, ""), ErrorKind::Unavailable, Status::Temporary),
        (Answer::Status(401, ""), ErrorKind::Denied, Status::Temporary),
        (Answer::Status(429, ""), ErrorKind::RateLimited, Status::Temporary),
        (Answer::Status(410, ""), ErrorKind::Invalid, Status::Permanent),
        (Answer::Status(422, ""), ErrorKind::Invalid, Status::Permanent),
        (Answer::Gone, ErrorKind::Unavailable, Status::Temporary),
        (Answer::Endless, ErrorKind::Unavailable, Status::Temporary),
    ] {
        let receiver = Receiver::start(std::slice::from_ref(&answer)).await;
        let webhook = webhook(config(&receiver.url("/s3cret-path")));
        let error = webhook.notify(&finished(Outcome::Succeeded)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_status()), (kind, status), "{answer:?}: {error:?}");
        let shown = format!("{error:?} {error} {webhook:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("t0ken"), "{shown}");
        webhook.notify(&finished(Outcome::Succeeded)).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_is_sent_elsewhere() {
    let other = Receiver::start(&[]).await;
    let receiver = Receiver::start(&[Answer::Elsewhere(other.url("/"))]).await;
    let told = webhook(config(&receiver.url("/"))).notify(&finished(Outcome::Succeeded)).await;
    assert_eq!(told.unwrap_err().retry_status(), Status::Temporary);
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn private_networks_are_not_reached_by_address_or_by_name() {
    let receiver = Receiver::start(&[]).await;
    let port = receiver.address.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0"] {
        let url = format!("http://{host}:{port}/s3cret");
        let config = WebhookConfig { allow_private_network: false, ..config(&url) };
        let error = webhook(config).notify(&finished(Outcome::Succeeded)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{host}: {error:?}");
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    }
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn nobody_there_is_worth_another_try() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [format!("http://{free}/"), "http://no-such-host.invalid/".into()] {
        let error = webhook(config(&url)).notify(&finished(Outcome::Succeeded)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry_status()),
            (ErrorKind::Unavailable, Status::Temporary)
        );
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_yet_is_asked_for_again() {
    let receiver = Receiver::start(&[]).await;
    for name in ["none", "empty"] {
        let config = WebhookConfig { secret: secret(name), ..config(&receiver.url("/")) };
        let error = webhook(config).notify(&finished(Outcome::Succeeded)).await.unwrap_err();
        assert_eq!(error.retry_status(), Status::Temporary, "{error:?}");
    }
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let https = |url: &str| WebhookConfig { allow_http: false, ..config(url) };
    for bad in [
        https("http://a.test/"),
        https("ftp://a.test/"),
        https("file:///etc/passwd"),
        https("https://user:pass@a.test/"),
        https("https://user@a.test/"),
        https("nonsense"),
        WebhookConfig { events: vec![], ..https("https://a.test/") },
    ] {
        let shown = format!("{bad:?}");
        let error = Webhook::new(bad, secrets(), clock()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{shown}");
    }
    Webhook::new(https("https://a.test/x"), secrets(), clock()).unwrap();
}
