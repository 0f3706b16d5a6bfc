//! What is built of what forges send.

use crate::server::{Server, golden, hook, signed};
use axum::http::{HeaderValue, StatusCode};
use kiln::{Op, Recipe};
use kiln_api_forge::{BuildConfig, Forge, HookConfig, Trigger};
use serde_json::{Value, json};

#[tokio::test]
async fn a_push_builds_its_commit_once() {
    let server = Server::new(Forge::GitHub);
    let (status, body) = server.send("push", &golden("github/push.json")).await;
    assert_eq!((status, &body["made"]), (StatusCode::CREATED, &json!(true)), "{body}");
    let build = server.build(&body).await;
    assert_eq!(build.owner().as_str(), "team");
    let labels = serde_json::to_value(build.labels()).unwrap();
    let commit = "b2".repeat(20);
    let expected = json!({
        "kiln.hook": "app", "kiln.repo": "acme/app", "kiln.commit": commit, "kiln.branch": "main",
    });
    assert_eq!(labels, expected);
    let [fetch, image, push] = build.plan().steps() else { panic!("{:?}", build.plan()) };
    let Op::Fetch { source, .. } = &fetch.op else { panic!("{fetch:?}") };
    assert_eq!(source.url, "https://github.com/acme/app.git");
    assert_eq!(source.reference.as_deref(), Some(commit.as_str()));
    let Op::Build(spec) = &image.op else { panic!("{image:?}") };
    assert!(matches!(spec.recipe, Recipe::Dockerfile { path: None }));
    assert_eq!(spec.labels["org.opencontainers.image.revision"], commit);
    let Op::Push { to, .. } = &push.op else { panic!("{push:?}") };
    assert_eq!(to.to_string(), "hub.test/acme/app:main-b2b2b2b2b2b2");
    assert_eq!(server.queued().await, 1);
}

#[tokio::test]
async fn a_request_that_comes_again_makes_no_second_build() {
    for (forge, event, file) in [
        (Forge::GitHub, "push", "github/push.json"),
        (Forge::Gitea, "push", "gitea/push.json"),
        (Forge::GitLab, "Push Hook", "gitlab/push.json"),
    ] {
        let server = Server::new(forge);
        let body = golden(file);
        let (_, first) = server.send(event, &body).await;
        let (status, again) = server.send(event, &body).await;
        assert_eq!((status, &again["made"]), (StatusCode::OK, &json!(false)), "{again}");
        assert_eq!(first["build"], again["build"]);
        // Whoever caught a signed request can give it another delivery id, and nothing else.
        if forge != Forge::GitLab {
            let mut headers = signed(forge, event, &body);
            for name in ["x-github-delivery", "x-gitea-delivery", "idempotency-key", "webhook-id"] {
                headers.insert(name, HeaderValue::from_static("another-one"));
            }
            let (_, replayed) = server.post("app", headers, &body).await;
            assert_eq!(replayed["build"], first["build"]);
        }
        assert_eq!(server.queued().await, 1);
    }
}

#[tokio::test]
async fn a_restart_knows_what_came_before() {
    let server = Server::new(Forge::GitHub);
    let body = golden("github/push.json");
    let (_, first) = server.send("push", &body).await;
    let (status, again) = server.restarted().send("push", &body).await;
    assert_eq!((status, &again["build"]), (StatusCode::OK, &first["build"]));
}

#[tokio::test]
async fn two_pushes_that_look_alike_are_two_on_gitlab() {
    let server = Server::new(Forge::GitLab);
    let body = golden("gitlab/push.json");
    let mut builds = Vec::new();
    for id in ["one", "two"] {
        let mut headers = signed(Forge::GitLab, "Push Hook", &body);
        headers.insert("idempotency-key", HeaderValue::from_static(id));
        builds.push(server.post("app", headers, &body).await.1["build"].clone());
    }
    assert_ne!(builds[0], builds[1]);
}

/// What each payload leads to: the commit and what is special, or why it was ignored.
const TABLE: &[(Forge, &str, &str, &str)] = &[
    (Forge::GitHub, "push", "github/push_tag.json", "b2 kiln.tag=v1.2"),
    (Forge::GitHub, "push", "github/push_deleted.json", "a branch or tag was deleted"),
    (Forge::GitHub, "pull_request", "github/pull_request.json", "c3 kiln.pull=7"),
    (Forge::GitHub, "pull_request", "github/pull_request_fork.json", "it comes from a fork"),
    (
        Forge::GitHub,
        "pull_request",
        "github/pull_request_labeled.json",
        "the commits of the pull request did not change",
    ),
    (Forge::GitHub, "issues", "github/issues.json", "nothing is built on such an event"),
    (Forge::GitLab, "Push Hook", "gitlab/push.json", "b2 kiln.branch=main"),
    (Forge::GitLab, "Push Hook", "gitlab/push_deleted.json", "a branch or tag was deleted"),
    (Forge::GitLab, "Tag Push Hook", "gitlab/tag_push.json", "b2 kiln.tag=v1.2"),
    (Forge::GitLab, "Merge Request Hook", "gitlab/merge_request.json", "c3 kiln.pull=7"),
    (Forge::GitLab, "Merge Request Hook", "gitlab/merge_request_fork.json", "it comes from a fork"),
    (
        Forge::GitLab,
        "Merge Request Hook",
        "gitlab/merge_request_labels.json",
        "the commits of the merge request did not change",
    ),
    (Forge::Gitea, "push", "gitea/push.json", "b2 kiln.branch=main"),
    (Forge::Gitea, "push", "gitea/push_tag.json", "b2 kiln.tag=v1.2"),
    (Forge::Gitea, "pull_request", "gitea/pull_request.json", "c3 kiln.pull=7"),
    (Forge::Gitea, "pull_request", "gitea/pull_request_fork.json", "it comes from a fork"),
    (Forge::Gitea, "create", "gitea/create.json", "nothing is built on such an event"),
];

#[tokio::test]
async fn each_event_of_each_forge_means_what_it_says() {
    for (forge, event, file, expected) in TABLE {
        let server = Server::new(*forge);
        let (status, body) = server.send(event, &golden(file)).await;
        if let Some(why) = body["ignored"].as_str() {
            assert_eq!((status, why), (StatusCode::ACCEPTED, *expected), "{file}");
            assert_eq!(server.queued().await, 0);
            continue;
        }
        assert_eq!(status, StatusCode::CREATED, "{file}: {body}");
        let (commit, label) = expected.split_once(' ').unwrap();
        let labels = server.build(&body).await.labels().clone();
        assert_eq!(labels["kiln.commit"], commit.repeat(20), "{file}");
        let (key, value) = label.split_once('=').unwrap();
        assert_eq!(labels.get(key).map(String::as_str), Some(value), "{file}: {labels:?}");
    }
}

#[tokio::test]
async fn a_ping_is_answered_and_builds_nothing() {
    let server = Server::new(Forge::GitHub);
    let (status, body) = server.send("ping", &golden("github/ping.json")).await;
    assert_eq!((status, body), (StatusCode::OK, json!({ "pong": true })));
    assert_eq!(server.queued().await, 0);
}

#[tokio::test]
async fn a_pull_request_never_takes_the_place_of_a_branch() {
    let config = HookConfig { forks: true, ..hook(Forge::GitHub) };
    let server = Server::of(config);
    let (_, body) = server.send("pull_request", &golden("github/pull_request.json")).await;
    let plan = server.build(&body).await.plan().clone();
    let tag = plan.steps().iter().find_map(|s| match &s.op {
        Op::Push { to, .. } => to.tag().map(str::to_owned),
        _ => None,
    });
    assert_eq!(tag.as_deref(), Some("pr-7-c3c3c3c3c3c3"), "its own branch is called main");
    // What a stranger wrote is built, if that is allowed, and goes nowhere.
    let (_, body) = server.send("pull_request", &golden("github/pull_request_fork.json")).await;
    let plan = server.build(&body).await.plan().clone();
    assert!(!plan.steps().iter().any(|s| matches!(s.op, Op::Push { .. })), "{plan:?}");
    let Op::Fetch { source, .. } = &plan.steps()[0].op else { panic!("{plan:?}") };
    assert_eq!(source.url, "https://github.com/acme/app.git", "the fork's is not trusted");
}

/// A hook of a pipeline that is given secrets.
fn of_a_pipeline() -> HookConfig {
    let settings = json!({
        "pipeline": "test",
        "env": {"LEVEL": {"text": "3"}, "TOKEN": {"secret": "token"}},
        "logins": {"hub.test": "hub"},
        "commit": {"repository": "hub.test/app", "push": true},
        "git": {"domain": "git.test"},
    });
    let pipeline = Some("wercker".to_owned());
    let settings = settings.as_object().unwrap().clone();
    let build = BuildConfig { pipeline, settings, ..BuildConfig::default() };
    HookConfig { forks: true, build, ..hook(Forge::GitHub) }
}

#[tokio::test]
async fn a_pipeline_is_told_what_changed_and_a_fork_is_told_no_secret() {
    let server = Server::of(of_a_pipeline());
    let asked = async |event: &str, file: &str| {
        let (_, body) = server.send(event, &golden(file)).await;
        let plan = server.build(&body).await.plan().clone();
        let [fetch, asked] = plan.steps() else { panic!("{plan:?}") };
        assert!(matches!(fetch.op, Op::Fetch { .. }), "{plan:?}");
        let Op::Plan { planner, path, settings } = asked.op.clone() else { panic!("{plan:?}") };
        assert_eq!((planner.as_str(), path.as_str()), ("wercker", "source"));
        settings
    };
    let own = asked("push", "github/push.json").await;
    let git = json!({"domain": "git.test", "owner": "acme", "repository": "app", "branch": "main",
        "commit": "b2".repeat(20)});
    assert_eq!((&own["git"], &own["version"]), (&git, &json!(1)));
    assert_eq!(own["env"]["TOKEN"]["secret"], "token");
    assert_eq!(own["commit"]["push"], true);
    let fork = asked("pull_request", "github/pull_request_fork.json").await;
    assert_eq!(fork["env"], json!({"LEVEL": {"text": "3"}}));
    assert_eq!((&fork["logins"], &fork["commit"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_pipeline_has_no_dockerfile_and_a_dockerfile_no_settings() {
    assert!(Server::check("app", of_a_pipeline()).is_ok());
    let mut both = of_a_pipeline();
    both.build.dockerfile = Some("Dockerfile".into());
    let mut alone = of_a_pipeline();
    alone.build.pipeline = None;
    for (config, words) in [(both, "no Dockerfile"), (alone, "build.settings")] {
        let e = Server::check("app", config).unwrap_err();
        assert!(e.to_string().contains(words), "{e}");
    }
}

#[tokio::test]
async fn filters_keep_out_what_they_say() {
    let push = golden("github/push.json");
    let text = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let cases = [
        (HookConfig { branches: text(&["release/*"]), ..hook(Forge::GitHub) }, "none of those"),
        (HookConfig { branches: text(&["ma?n"]), ..hook(Forge::GitHub) }, ""),
        (HookConfig { paths: text(&["web/**"]), ..hook(Forge::GitHub) }, "none of the paths"),
        (HookConfig { paths: text(&["docs/**"]), ..hook(Forge::GitHub) }, ""),
        (HookConfig { on: vec![Trigger::Tag], ..hook(Forge::GitHub) }, "does not build on that"),
        (HookConfig { repos: text(&["acme/other"]), ..hook(Forge::GitHub) }, "the repository"),
        (HookConfig { clone_hosts: text(&["git.test"]), ..hook(Forge::GitHub) }, "on no host"),
    ];
    for (config, why) in cases {
        let (_, body) = Server::of(config.clone()).send("push", &push).await;
        match why {
            "" => assert_eq!(body["made"], json!(true), "{config:?}: {body}"),
            why => assert!(body["ignored"].as_str().unwrap().contains(why), "{config:?}: {body}"),
        }
    }
    // Of thirty commits GitLab tells twenty, so nobody knows that the rest changed nothing.
    let paths = text(&["src/**"]);
    let server = Server::of(HookConfig { paths, ..hook(Forge::GitLab) });
    let (_, body) = server.send("Push Hook", &golden("gitlab/push_many.json")).await;
    assert_eq!(body["made"], json!(true), "{body}");
}

#[tokio::test]
async fn a_hook_that_says_nonsense_is_refused_at_the_start() {
    let good = hook(Forge::GitHub);
    let text = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let mut untagged = good.clone();
    untagged.build.tags.clear();
    let mut climbing = good.clone();
    climbing.build.context = Some("../..".into());
    let mut chosen = good.clone();
    chosen.build.tags = text(&["{repo}:1"]);
    let source = |s: &str| HookConfig { source: Some(s.into()), ..good.clone() };
    for bad in [
        HookConfig { repos: vec![], ..good.clone() },
        HookConfig { clone_hosts: vec![], ..good.clone() },
        source("https://{repo}"),
        source("https://git.test{repo}/x"),
        source("{repo}"),
        source("https://git.test/{branch}.git"),
        untagged,
        climbing,
        chosen,
    ] {
        let shown = format!("{bad:?}");
        assert_eq!(
            Server::check("app", bad).unwrap_err().kind(),
            kiln::ErrorKind::Invalid,
            "{shown}"
        );
    }
    assert!(Server::check("a/b", good.clone()).is_err());
    Server::check("app", source("https://git.test/{repo}.git")).unwrap();
    Server::check("app", source("git@git.test:{repo}.git")).unwrap();
    let unknown = serde_json::from_value::<HookConfig>(json!({
        "forge": "github", "secret": "s", "repos": ["a/*"], "colour": 1,
    }));
    assert!(unknown.unwrap_err().to_string().contains("colour"));
}

#[tokio::test]
async fn builds_of_one_branch_run_one_after_the_other() {
    let server = Server::new(Forge::GitHub);
    for after in ["e5", "f6"] {
        let mut body: Value = serde_json::from_str(&golden("github/push.json")).unwrap();
        body["after"] = json!(after.repeat(20));
        server.send("push", &body.to_string()).await;
    }
    assert_eq!(server.leasable().await, 1, "the second waits for the first");
}
