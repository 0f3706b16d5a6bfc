//! What a session adds: only what changed is sent, secrets stay out of images, rules are Docker's.

use crate::bench::{Bench, WAYS, Way};
use kiln::{
    BuildSpec, ErrorKind, Recipe, SecretRef,
    port::{Builder, LogBody},
    secret::Secret,
};
use kiln_conformance::{run, step::TestStep};
use kiln_docker::{BuilderChoice, DockerConfig, Host};
use std::os::unix::fs::{PermissionsExt, symlink};

/// How many bytes of context a build sent at most in one transfer.
async fn transferred(bench: &Bench, spec: &BuildSpec) -> u64 {
    let mut step = TestStep::new();
    bench.builder.build(step.cx(), spec).await.unwrap();
    let progress = step.records().await.into_iter().filter_map(|r| match r.body {
        LogBody::Progress(p) if p.item.contains("transferring context") => Some(p.done),
        _ => None,
    });
    progress.max().unwrap_or(0)
}

#[test]
fn only_what_changed_is_sent() {
    run("only_what_changed_is_sent", async {
        let Some(bench) = Bench::new("only_what_changed_is_sent", Way::Session).await else {
            return;
        };
        let mut spec = bench.on_busybox("COPY big small /");
        bench.write("big", vec![1; 5 << 20]);
        bench.write("small", "1");
        bench.write("unused", vec![1; 5 << 20]);
        spec.no_cache = false;
        let first = transferred(&bench, &spec).await;
        assert!((5 << 20..9 << 20).contains(&first), "{first}");
        assert!(transferred(&bench, &spec).await < 1 << 20);
        bench.write("small", "2");
        let after = transferred(&bench, &spec).await;
        assert!(after < 1 << 20, "{after}");
        spec.no_cache = true;
        assert!(transferred(&bench, &spec).await >= 5 << 20);
    });
}

#[test]
fn many_files_are_asked_for_at_once() {
    run("many_files_are_asked_for_at_once", async {
        let test = "many_files_are_asked_for_at_once";
        let Some(bench) = Bench::new(test, Way::Session).await else { return };
        (0..10_000).for_each(|i| bench.write(&format!("many/d{}/f{i}", i % 100), "x"));
        bench.build(&bench.on_busybox("COPY many /many")).await.0.unwrap();
    });
}

#[test]
fn a_context_arrives_as_it_is() {
    for way in WAYS {
        run("a_context_arrives_as_it_is", async {
            let Some(bench) = Bench::new("a_context_arrives_as_it_is", way).await else { return };
            let list = "cd /c && for f in $(busybox find . | busybox sort); do busybox stat -c '%n %F %a %u %g %N' $f; done";
            let rest = format!("COPY . /c\nRUN {list}\n");
            bench.write(
                ".dockerignore",
                "Dockerfile\n.dockerignore\nbusybox2\nout\n!out/kept\n**/*.log\n",
            );
            bench.write("busybox2", "");
            bench.write("a/b/c.log", "");
            bench.write("a/b/text", "text");
            bench.write("out/gone", "");
            bench.write("out/kept", "");
            bench.write("tool", "");
            let mode = |name: &str, mode| {
                let mode = std::fs::Permissions::from_mode(mode);
                std::fs::set_permissions(bench.dir.path().join(name), mode).unwrap();
            };
            symlink("../../etc/passwd", bench.dir.path().join("a/out")).unwrap();
            mode("tool", 0o4750);
            let spec = bench.on_busybox(&rest);
            let (built, log) = bench.build(&spec).await;
            built.unwrap();
            let seen = |line: &str| assert!(log.contains(line), "{way:?}: no {line} in\n{log}");
            seen("./a/b/text regular file 644 0 0 ./a/b/text");
            seen("./a/out symbolic link 777 0 0 './a/out' -> '../../etc/passwd'");
            if way == Way::Archive {
                // An archive is taken as it is.
                return;
            }
            seen("./out/kept regular empty file 644 0 0");
            let tool = if way == Way::Session { "4750" } else { "750" };
            seen(&format!("./tool regular empty file {tool} 0 0"));
            for absent in ["c.log", "./out/gone", "busybox2", "./Dockerfile", "./.dockerignore"] {
                assert!(!log.contains(absent), "{way:?}: {absent} in\n{log}");
            }
        });
    }
}

#[test]
fn a_secret_is_there_while_it_runs_and_never_in_the_log() {
    for way in WAYS {
        run("a_secret", async {
            let Some(bench) = Bench::new("a_secret", way).await else { return };
            let rest = "RUN --mount=type=secret,id=token \
                        busybox wc -c < /run/secrets/token; busybox cat /run/secrets/token; exit 3";
            let name = SecretRef::new("deploy/token").unwrap();
            let spec = bench.on_busybox(rest).secret("token", name.clone());
            let mut step = TestStep::new().secret(name, Secret::new("hunter2-hunter2"));
            let e = bench.builder.build(step.cx(), &spec).await.unwrap_err();
            if way == Way::Classic {
                assert_eq!(e.kind(), ErrorKind::Unsupported, "{e:?}");
                return;
            }
            let log = step.text().await;
            assert_eq!(e.code(), Some(3), "{e:?} {log}");
            assert!(log.contains("15") && !log.contains("hunter2"), "{log}");
            let missing = bench.builder.build(TestStep::new().cx(), &spec).await.unwrap_err();
            assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing:?}");
        });
    }
}

#[test]
fn a_dockerfile_need_not_be_in_the_context() {
    for way in [Way::Session, Way::Classic] {
        run("a_dockerfile_elsewhere", async {
            let Some(bench) = Bench::new("a_dockerfile_elsewhere", way).await else { return };
            bench.busybox();
            let text = "FROM scratch\nCOPY . /\nRUN [\"/busybox\", \"ls\", \"-a\", \"/\"]\n";
            let inline = BuildSpec { recipe: Recipe::Inline { text: text.into() }, ..bench.spec() };
            let (built, log) = bench.build(&inline).await;
            built.unwrap();
            assert!(way == Way::Classic || !log.contains("\nDockerfile\n"), "{log}");
            let elsewhere = tempfile::tempdir().unwrap();
            std::fs::write(elsewhere.path().join("Other"), text).unwrap();
            let recipe = Recipe::Dockerfile { path: Some(elsewhere.path().join("Other")) };
            bench.build(&BuildSpec { recipe, ..bench.spec() }).await.0.unwrap();
            bench.write("sub/Other", text);
            bench.write("sub/Other.dockerignore", "gone\n");
            bench.write("gone", "");
            let recipe = Recipe::Dockerfile { path: Some("sub/Other".into()) };
            let spec = bench.spec();
            let (built, log) = bench.build(&BuildSpec { recipe, ..spec }).await;
            built.unwrap();
            assert!(!log.contains("gone"), "{log}");
            let empty = BuildSpec::new(Recipe::Inline { text: "FROM scratch\nLABEL a=b".into() });
            bench.build(&empty).await.0.unwrap();
        });
    }
}

#[test]
fn an_engine_may_be_elsewhere() {
    run("an_engine_may_be_elsewhere", async {
        // Stands for a network: what comes to a port goes to the engine's socket.
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = port.local_addr().unwrap().to_string();
        let there = |config: &mut DockerConfig| config.host = Host::Tcp(address);
        let test = "an_engine_may_be_elsewhere";
        let Some(bench) = Bench::with(test, Way::Session, there).await else { return };
        let socket = bench.socket.clone();
        let forward = tokio::spawn(async move {
            while let Ok((mut here, _)) = port.accept().await {
                let mut there = tokio::net::UnixStream::connect(&socket).await.unwrap();
                tokio::spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                });
            }
        });
        bench.build(&bench.on_busybox("RUN true")).await.0.unwrap();
        forward.abort();
        let gone = bench.build(&bench.on_busybox("RUN true")).await.0.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::Unavailable, "{gone:?}");
    });
}

#[test]
fn an_engine_without_sessions_builds_as_ever() {
    run("an_engine_without_sessions", async {
        // Stands for the proxies that people put before an engine.
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = port.local_addr().unwrap().to_string();
        for (choice, kind) in
            [(BuilderChoice::Auto, None), (BuilderChoice::BuildKit, Some(ErrorKind::Denied))]
        {
            let set = |config: &mut DockerConfig| {
                config.host = Host::Tcp(address.clone());
                config.builder = choice;
            };
            let bench = Bench::with("an_engine_without_sessions", Way::Session, set).await;
            let Some(bench) = bench else { return };
            let spec = bench.on_busybox("RUN true");
            let (built, log) = tokio::select! {
                done = bench.build(&spec) => done,
                () = forbid_sessions(&port, &bench) => unreachable!(),
            };
            assert_eq!(built.as_ref().err().map(kiln::Error::kind), kind, "{built:?}");
            assert!(kind.is_some() || log.contains("the classic builder is used"), "{log}");
        }
    });
}

async fn forbid_sessions(port: &tokio::net::TcpListener, bench: &Bench) {
    use tokio::io::{AsyncWriteExt, copy_bidirectional};
    while let Ok((mut here, _)) = port.accept().await {
        let socket = bench.socket.clone();
        tokio::spawn(async move {
            let mut first = [0; 14];
            while here.peek(&mut first).await.unwrap() < first.len() {}
            if first.starts_with(b"POST /session ") {
                let _ = here
                    .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nForbidden\n")
                    .await;
                return;
            }
            let mut there = tokio::net::UnixStream::connect(&socket).await.unwrap();
            let _ = copy_bidirectional(&mut here, &mut there).await;
        });
    }
}

#[test]
fn names_that_are_no_text_arrive_too() {
    run("names_that_are_no_text", async {
        let Some(bench) = Bench::new("names_that_are_no_text", Way::Session).await else { return };
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"n\xff");
        std::fs::write(bench.dir.path().join(name), "odd").unwrap();
        let spec = bench.on_busybox("COPY . /c\nRUN busybox cat /c/n*");
        let (built, log) = bench.build(&spec).await;
        built.unwrap();
        assert!(log.contains("odd"), "{log}");
    });
}
