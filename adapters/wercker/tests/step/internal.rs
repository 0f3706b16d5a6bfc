//! The steps that are in Kiln itself, row by row.

use crate::{lines, written};
use kiln_wercker::step::{
    INTERNAL, ImageConfig, Internal, PortSpec, StepRef, Template, check_internal, read_internal,
};

/// Reads a step with the variables `A=a`, `TAGS=x,y` and `SECRET`, which nobody may ask for.
fn read(name: &str, properties: &[(&str, &str)]) -> (Option<Internal>, Vec<String>) {
    let id = format!("internal/{name}");
    let (source, def) = written(&id, properties);
    let look_up = |name: &str| match name {
        "A" => Some("a".to_owned()),
        "TAGS" => Some("x,y z".to_owned()),
        "SECRET" => panic!("the secret is asked for"),
        _ => None,
    };
    let (internal, found) = read_internal(&source, &StepRef::parse(&id).unwrap(), &def, &look_up);
    (internal, lines(&found))
}

fn good(name: &str, properties: &[(&str, &str)]) -> Internal {
    let (internal, found) = read(name, properties);
    assert!(found.is_empty(), "{found:?}");
    internal.unwrap()
}

fn check(name: &str, properties: &[(&str, &str)]) -> Vec<String> {
    let id = format!("internal/{name}");
    let (source, def) = written(&id, properties);
    lines(&check_internal(&source, &StepRef::parse(&id).unwrap(), &def))
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[test]
fn docker_push_has_all_its_properties() {
    let rows = [
        ("username", "me"),
        ("password", "$SECRET"),
        ("auth-server", "https://auth.test"),
        ("registry", "https://registry.test/v2"),
        ("repository", "registry.test/$A/app"),
        ("tag", "$TAGS, latest"),
        ("author", "Me"),
        ("message", "it's me"),
        ("ports", "80, 53/udp 8080:81"),
        ("volumes", "/a /b"),
        ("working-dir", "/app"),
        ("cmd", "run 'a b' $A"),
        ("entrypoint", "[\"/init\", \"-x y\"]"),
        ("env", "K=v L='a b'"),
        ("stopsignal", "SIGTERM"),
        ("labels", "l=1"),
        ("user", "app"),
    ];
    for name in ["docker-push", "docker-scratch-push"] {
        let push = match good(name, &rows) {
            Internal::DockerPush(push) if name == "docker-push" => push,
            Internal::DockerScratchPush(push) if name == "docker-scratch-push" => push,
            other => panic!("{other:?}"),
        };
        assert_eq!(push.auth.username, Some(Template::parse("me")));
        assert_eq!(push.auth.password, Some(Template::parse("$SECRET")));
        assert_eq!(push.auth.registry, some("https://registry.test/v2"));
        assert_eq!(push.repository, some("registry.test/a/app"));
        assert_eq!(push.tags, ["x", "y", "z", "latest"]);
        let changes = [
            "ENV K=\"v\"",
            "ENV L=\"a b\"",
            "LABEL \"l\"=\"1\"",
            "EXPOSE 80/tcp",
            "EXPOSE 53/udp",
            "EXPOSE 81/tcp",
            "VOLUME [\"/a\",\"/b\"]",
            "WORKDIR /app",
            "USER app",
            "STOPSIGNAL SIGTERM",
            "ENTRYPOINT [\"/init\",\"-x y\"]",
            "CMD [\"run\",\"a b\",\"a\"]",
        ];
        assert_eq!(push.image.changes(), changes);
        assert_eq!((push.image.author, push.image.message), (some("Me"), some("it's me")));
    }
    let server = good("docker-push", &[("repository", "a"), ("auth-server", "https://x")]);
    let Internal::DockerPush(push) = server else { panic!("{server:?}") };
    assert_eq!(push.auth.registry, some("https://x"));
    let built = good("docker-push", &[("image-name", "app")]);
    let Internal::DockerPush(push) = built else { panic!("{built:?}") };
    assert_eq!((push.image_name, push.repository), (some("app"), None));
}

#[test]
fn values_of_an_image_are_no_instructions() {
    let image = ImageConfig {
        env: vec![pair("A", "a\" \\ $B")],
        cmd: vec!["a\nRUN id".into()],
        user: some("$U"),
        ..ImageConfig::default()
    };
    let expected = ["ENV A=\"a\\\" \\\\ \\$B\"", "USER \\$U", "CMD [\"a\\nRUN id\"]"];
    assert_eq!(image.changes(), expected);
    for (key, value) in [("env", "'A=x\nRUN id'"), ("user", "x\nRUN id"), ("labels", "'a\n=b'")] {
        let (step, found) = read("docker-push", &[("repository", "a"), (key, value)]);
        assert_eq!((step, found.len()), (None, 1), "{key}: {found:?}");
        assert!(found[0].contains("control characters"), "{found:?}");
    }
}

#[test]
fn what_the_original_had_and_this_has_not_is_told() {
    let rows = [
        ("repository", "a"),
        ("email", "me@x"),
        ("disable-sync", "true"),
        ("force-tags", "true"),
        ("aws-access-key", "hunter2"),
        ("azure-client-id", "hunter2"),
    ];
    let (step, found) = read("docker-push", &rows);
    assert!(step.is_some());
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.iter().all(|f| f.contains("warning[no-effect]") && !f.contains("hunter2")));
}

#[test]
fn docker_build_has_all_its_properties() {
    let rows = [
        ("image-name", "app"),
        ("dockerfile", "docker/Dockerfile"),
        ("context", "$A"),
        ("build-args", "X=1 Y='2 3'"),
        ("labels", "l=1"),
        ("q", "true"),
        ("no-cache", "yes"),
        ("extra-hosts", "h:10.0.0.1, i:10.0.0.2"),
        ("squash", "true"),
        ("registry-auth-config", "{\"a\": {}}"),
    ];
    let Internal::DockerBuild(build) = good("docker-build", &rows) else { panic!() };
    assert_eq!(build.image_name, "app");
    assert_eq!((build.dockerfile, build.context), (some("docker/Dockerfile"), some("a")));
    assert_eq!(build.build_args, [pair("X", "1"), pair("Y", "2 3")]);
    assert_eq!(build.labels, [pair("l", "1")]);
    assert!(build.quiet && build.no_cache && build.squash);
    assert_eq!(build.extra_hosts, ["h:10.0.0.1", "i:10.0.0.2"]);
    assert!(build.registry_auth_config.is_some());
    let (_, found) = read("docker-build", &[("registry-auth-config", "{hunter2")]);
    assert!(found.iter().any(|f| f.contains("`image-name`")), "{found:?}");
    assert!(found.iter().any(|f| f.contains("no JSON")), "{found:?}");
}

#[test]
fn docker_run_and_kill_have_all_their_properties() {
    let rows = [
        ("name", "db"),
        ("image", "redis:7"),
        ("cmd", "redis-server --x"),
        ("entrypoint", "/e"),
        ("env", "A=1"),
        ("ports", "6379:6379"),
        ("working-dir", "/w"),
        ("user", "u"),
        ("username", "me"),
        ("password", "$SECRET"),
        ("registry", "r.test"),
    ];
    let Internal::DockerRun(run) = good("docker-run", &rows) else { panic!() };
    assert_eq!((run.name.as_str(), run.image.as_str()), ("db", "redis:7"));
    let config = ImageConfig {
        cmd: vec!["redis-server".into(), "--x".into()],
        entrypoint: vec!["/e".into()],
        env: vec![pair("A", "1")],
        ports: vec![PortSpec { host: Some(6379), guest: 6379, udp: false }],
        working_dir: some("/w"),
        user: some("u"),
        ..ImageConfig::default()
    };
    assert_eq!(run.config, config);
    assert_eq!(run.auth.registry, some("r.test"));
    assert_eq!(good("docker-kill", &[("name", "db")]), Internal::DockerKill { name: "db".into() });
}

#[test]
fn the_others_have_all_their_properties() {
    assert_eq!(good("store-container", &[]), Internal::StoreContainer);
    let rows = [
        ("owner", "me"),
        ("endpoint", "https://steps.test"),
        ("auth-token", "$SECRET"),
        ("path", "step"),
        ("private", "true"),
    ];
    let Internal::PublishStep(publish) = good("publish-step", &rows) else { panic!() };
    assert_eq!((publish.owner, publish.path), (some("me"), some("step")));
    assert_eq!(publish.endpoint, some("https://steps.test"));
    assert_eq!(publish.auth_token, Some(Template::parse("$SECRET")));
    assert!(publish.private);
    let watch = Internal::Watch { code: "make".into(), reload: true };
    assert_eq!(good("watch", &[("code", "make"), ("reload", "true")]), watch);
    let shell = Internal::Shell { cmd: some("/bin/ash"), code: some("cd x") };
    assert_eq!(good("shell", &[("cmd", "/bin/ash"), ("code", "cd x")]), shell);
}

/// A step, what it is told, and what is said of that.
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str);

#[test]
fn mistakes_are_told_with_their_places() {
    let rows: [Row; 12] = [
        ("docker-push", &[], "1:3: error[missing-property]: step `internal/docker-push` needs"),
        ("docker-build", &[], "1:3: error[missing-property]: step `internal/docker-build` needs"),
        ("docker-run", &[("name", "x")], "needs the property `image`"),
        ("docker-kill", &[], "needs the property `name`"),
        ("watch", &[], "needs the property `code`"),
        ("watch", &[("code", "x"), ("reload", "maybe")], "3:13: error[wrong-value]"),
        ("docker-push", &[("repository", "a"), ("tag", "a/b")], "3:10: error[wrong-value]"),
        ("docker-push", &[("repository", "a"), ("ports", "99999")], "3:12: error[wrong-value]"),
        ("docker-push", &[("repository", "a"), ("cmd", "'x")], "3:10: error[wrong-value]"),
        ("docker-push", &[("repository", "a"), ("env", "x")], "no `NAME=value`"),
        ("docker-push", &[("repository", "a"), ("tags", "x")], "Did you mean `tag`?"),
        ("docker-pussh", &[], "Did you mean `internal/docker-push`?"),
    ];
    for (name, properties, expected) in rows {
        let found = check(name, properties);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(found[0].contains(expected), "{name}: {found:?}");
    }
    for name in INTERNAL {
        assert!(!check(name, &[]).iter().any(|f| f.contains("unknown")), "{name}");
    }
}

#[test]
fn what_is_not_known_yet_is_no_mistake() {
    let open =
        [("repository", "$R"), ("tag", "$T"), ("ports", "$P"), ("cmd", "'$C"), ("env", "$E")];
    assert_eq!(check("docker-push", &open), Vec::<String>::new());
    assert_eq!(check("watch", &[("code", "$C"), ("reload", "$R")]), Vec::<String>::new());
    // Once everything is known, a value that is empty is missing.
    let (step, found) = read("docker-push", &[("repository", "$NONE")]);
    assert_eq!((step, found.len()), (None, 1), "{found:?}");
}

#[test]
fn ports_are_read_and_shown() {
    for (text, shown) in [("80", "80/tcp"), ("53/udp", "53/udp"), ("8080:80/tcp", "8080:80/tcp")] {
        assert_eq!(PortSpec::parse(text).unwrap().to_string(), shown);
    }
    for bad in ["", "0", "x", "80/sctp", "65536", "a:80", "80:", ":80", "1:2:3x"] {
        assert_eq!(PortSpec::parse(bad), None, "{bad}");
    }
}
