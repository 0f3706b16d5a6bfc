use crate::receiver::{Answer, Receiver, finished, notice, secret, secrets};
use async_trait::async_trait;
use kiln::{
    BuildId, ErrorKind, Event, Outcome, Owner, Result, Seq, Status, StepId,
    port::{Notice, Notifier},
};
use kiln_conformance::{
    Fresh,
    notifier::Told,
    sample::{accepted, events},
};
use kiln_forge::{Forge, On, StatusConfig, Statuses};
use serde_json::json;
use std::sync::Arc;

fn config(forge: Forge, api: String) -> StatusConfig {
    StatusConfig {
        forge,
        api,
        token: secret("token"),
        owner: Owner::new("team").unwrap(),
        repos: vec!["acme/*".into()],
        hook: None,
        context: "kiln/image".into(),
        target: Some("https://kiln.test/builds/{build}?seq={seq}".into()),
        events: vec![On::Accepted, On::Adopted, On::Finished],
        allow_private_network: true,
        allow_http: true,
    }
}

fn statuses(config: StatusConfig) -> Statuses {
    Statuses::new(config, secrets()).unwrap()
}

/// Statuses of builds that all are of one commit, and who listens to them.
#[derive(Debug)]
struct Heard(Statuses, Receiver);

#[async_trait]
impl Notifier for Heard {
    async fn notify(&self, told: &Notice) -> Result<()> {
        let mut told = told.clone();
        let of = notice(told.event.clone()).build;
        (told.build.labels, told.build.owner) = (of.labels, of.owner);
        self.0.notify(&told).await
    }
}

impl Told for Heard {
    fn told(&self) -> Vec<(BuildId, Seq)> {
        let of = |target: &str| {
            let (build, seq) = target.rsplit('/').next().unwrap().split_once("?seq=").unwrap();
            (BuildId::new(build).unwrap(), Seq(seq.parse().unwrap()))
        };
        let requests = self.1.requests();
        requests.iter().map(|r| of(r.json()["target_url"].as_str().unwrap())).collect()
    }
}

async fn heard(forge: Forge) -> Fresh<Heard> {
    let receiver = Receiver::start(&[]).await;
    let events = events().iter().filter_map(On::of).collect();
    let all = StatusConfig { events, ..config(forge, receiver.url("/api")) };
    Fresh::new(Arc::new(Heard(statuses(all), receiver)))
}

mod promises_on_github {
    use super::*;
    kiln_conformance::notifier_suite!(heard(Forge::GitHub).await);
}

mod promises_on_gitlab {
    use super::*;
    kiln_conformance::notifier_suite!(heard(Forge::GitLab).await);
}

mod promises_on_gitea {
    use super::*;
    kiln_conformance::notifier_suite!(heard(Forge::Gitea).await);
}

/// The requests that a build of each forge leads to.
#[tokio::test]
async fn each_forge_is_told_in_its_own_words() {
    let sha = "f0".repeat(20);
    for (forge, path, header, value, words) in [
        (
            Forge::GitHub,
            format!("/api/repos/acme/app/statuses/{sha}"),
            "authorization",
            "Bearer t0ken",
            ["pending", "pending", "success", "failure", "error", "failure", "error"],
        ),
        (
            Forge::GitLab,
            format!("/api/projects/acme%2Fapp/statuses/{sha}"),
            "private-token",
            "t0ken",
            ["pending", "running", "success", "failed", "failed", "failed", "canceled"],
        ),
        (
            Forge::Gitea,
            format!("/api/repos/acme/app/statuses/{sha}"),
            "authorization",
            "token t0ken",
            ["pending", "pending", "success", "failure", "error", "failure", "error"],
        ),
    ] {
        let receiver = Receiver::start(&[]).await;
        let statuses = statuses(config(forge, receiver.url("/api/")));
        let step = StepId(0);
        let adopted = events().remove(1);
        let outcomes = [
            Outcome::Succeeded,
            Outcome::Failed { step },
            Outcome::Errored { step },
            Outcome::TimedOut,
            Outcome::Cancelled,
        ];
        for told in [notice(accepted()), notice(adopted)].into_iter().chain(outcomes.map(finished))
        {
            statuses.notify(&told).await.unwrap();
        }
        let requests = receiver.requests();
        let told: Vec<_> = requests.iter().map(|r| r.json()["state"].clone()).collect();
        assert_eq!(told, words, "{forge:?}");
        let first = &requests[0];
        assert_eq!(first.line, format!("POST {path} HTTP/1.1"));
        assert_eq!(first.headers[header], value);
        assert!(first.headers["user-agent"].starts_with("kiln/"), "GitHub wants a name");
        let body = json!({
            "state": "pending",
            "description": "The build waits for its turn",
            "context": "kiln/image",
            "target_url": "https://kiln.test/builds/b1?seq=7",
        });
        assert_eq!(first.json(), body);
        let long = |r: &crate::receiver::Request| r.json()["description"].as_str().unwrap().len();
        assert!(requests.iter().all(|r| long(r) <= 140));
    }
}

#[tokio::test]
async fn nobody_speaks_for_the_commits_of_others() {
    let receiver = Receiver::start(&[]).await;
    let statuses = statuses(StatusConfig {
        hook: Some("app".into()),
        ..config(Forge::GitHub, receiver.url("/api"))
    });
    let tell = async |key: &str, value: &str| {
        let mut told = finished(Outcome::Succeeded);
        match key {
            "owner" => told.build.owner = Owner::new(value).unwrap(),
            _ if value.is_empty() => drop(told.build.labels.remove(key)),
            _ => drop(told.build.labels.insert(key.into(), value.into())),
        }
        statuses.notify(&told).await.unwrap();
    };
    for (key, value) in [
        ("owner", "mallory"),
        ("kiln.hook", "other"),
        ("kiln.hook", ""),
        ("kiln.repo", "evil/app"),
        ("kiln.repo", "acme/app/../../../user"),
        ("kiln.repo", "acme/.."),
        ("kiln.repo", "acme/app?x"),
        ("kiln.repo", ""),
        ("kiln.commit", "main"),
        ("kiln.commit", "../../x"),
        ("kiln.commit", ""),
    ] {
        tell(key, value).await;
        assert!(receiver.requests().is_empty(), "{key}={value}");
    }
    tell("kiln.repo", "acme/other").await;
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn what_a_forge_answers_says_whether_to_try_again() {
    let twice = "{\"message\":\"Cannot transition status via :run from :running\"}";
    for (forge, answer, expected) in [
        (Forge::GitLab, Answer::Status(400, twice), None),
        (Forge::GitHub, Answer::Status(400, twice), Some(Status::Permanent)),
        (Forge::GitLab, Answer::Status(400, "{}"), Some(Status::Permanent)),
        (Forge::GitHub, Answer::Status(422, "{}"), Some(Status::Permanent)),
        (Forge::Gitea, Answer::Status(404, "{}"), Some(Status::Permanent)),
        (Forge::GitHub, Answer::Status(401, "{}"), Some(Status::Temporary)),
        (Forge::GitHub, Answer::Status(502, "{}"), Some(Status::Temporary)),
    ] {
        let receiver = Receiver::start(std::slice::from_ref(&answer)).await;
        let statuses = statuses(config(forge, receiver.url("/")));
        let told = statuses.notify(&finished(Outcome::Succeeded)).await;
        let status = told.err().map(|e| e.retry_status());
        assert_eq!(status, expected, "{forge:?} {answer:?}");
    }
}

#[tokio::test]
async fn the_token_goes_nowhere_else() {
    let other = Receiver::start(&[]).await;
    let receiver = Receiver::start(&[Answer::Elsewhere(other.url("/"))]).await;
    let statuses = statuses(config(Forge::GitLab, receiver.url("/")));
    let error = statuses.notify(&finished(Outcome::Succeeded)).await.unwrap_err();
    assert!(other.requests().is_empty());
    assert!(!format!("{error:?} {statuses:?}").contains("t0ken"));
}

#[tokio::test]
async fn a_token_that_would_be_two_headers_is_none() {
    let receiver = Receiver::start(&[]).await;
    let odd = StatusConfig { token: secret("odd"), ..config(Forge::GitHub, receiver.url("/")) };
    let error = statuses(odd).notify(&finished(Outcome::Succeeded)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(!format!("{error:?}").contains("evil"), "{error:?}");
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let good = config(Forge::GitHub, "https://api.test".into());
    for bad in [
        StatusConfig { repos: vec![], ..good.clone() },
        StatusConfig { events: vec![], ..good.clone() },
        StatusConfig { context: String::new(), ..good.clone() },
        StatusConfig { target: Some("javascript:alert({build})".into()), ..good.clone() },
        StatusConfig { api: "http://a.test".into(), allow_http: false, ..good.clone() },
    ] {
        let shown = format!("{bad:?}");
        assert_eq!(
            Statuses::new(bad, secrets()).unwrap_err().kind(),
            ErrorKind::Invalid,
            "{shown}"
        );
    }
    assert!(!statuses(good).wants(&Event::StepDue { step: StepId(0) }));
}
