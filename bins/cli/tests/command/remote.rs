//! Registries, repositories and engines that do not do what they should.

use crate::bench::{Bench, real};
use std::{
    io::{Read, Write},
    net::TcpListener,
};

#[test]
fn a_registry_that_refuses_is_told_with_a_remedy() {
    let Some(bench) = real("a_registry_that_refuses") else { return };
    let Some(registry) = bench.registry("registry-auth") else { return };
    let dir = bench.context("FROM {base}\n", &[]);
    let path = dir.path().to_str().unwrap();
    let image = format!("{registry}/kiln-test/private:1");
    let run = bench.kiln(&["build", path, "-t", &image, "--push"]);
    assert!(run.code == 1 && run.err.contains("docker login"), "{run:?}");
    let run = bench.kiln(&["build", path, "-t", "localhost:9/x:1", "--push"]);
    assert!(run.code == 3 && run.err.contains("help:"), "{run:?}");
    bench.assert_clean();
}

#[test]
fn repositories_that_cannot_be_fetched_are_explained() {
    let Some(bench) = real("repositories_that_cannot_be_fetched") else { return };
    let dir = bench.context("FROM {base}\n", &[]);
    bench.git(dir.path());
    let empty = tempfile::tempdir().unwrap();
    bench.run("git", &["init", "-q", empty.path().to_str().unwrap()]);
    for (url, said) in [
        ("file:///nonexistent/repo.git".to_owned(), "no such"),
        (format!("file://{}#absent", dir.path().display()), "absent"),
        (format!("file://{}", empty.path().display()), "empty"),
    ] {
        let run = bench.kiln(&["build", &url]);
        assert!(run.code == 1 && run.err.contains(said), "{url}: {run:?}");
    }
    bench.assert_clean();
}

#[test]
fn no_engine_is_our_error_with_a_remedy_and_only_builds_need_one() {
    let bench = Bench::plain();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let path = dir.path().to_str().unwrap();
    for host in ["unix:///nonexistent.sock", "tcp://127.0.0.1:9"] {
        let run = bench.kiln(&["build", "-H", host, path]);
        assert!(run.code == 3 && run.err.contains("cannot be reached"), "{run:?}");
        assert!(run.err.contains("DOCKER_HOST"), "{run:?}");
        assert!(bench.kiln(&["builds", "--json"]).out.is_empty());
        bench.assert_clean();
        assert_eq!(bench.kiln(&["builds", "-H", host]).code, 0);
        assert_eq!(bench.kiln(&["prune", "-H", host]).code, 0);
    }
}

#[test]
fn a_registry_whose_certificate_nobody_knows_is_explained() {
    let Some(bench) = real("a_registry_whose_certificate") else { return };
    let Some(service) = bench.service("registry-tls") else { return };
    if service["refused_by_engine"] != true {
        println!("SKIPPED: a_registry_whose_certificate: kernel: the engine has no bridge");
        return;
    }
    let dir = bench.context("FROM {base}\n", &[]);
    let image = format!("{}/kiln-test/tls:1", service["host"].as_str().unwrap());
    let run = bench.kiln(&["build", dir.path().to_str().unwrap(), "-t", &image, "--push"]);
    assert!(run.code == 3 && run.err.contains("/etc/docker/certs.d"), "{run:?}");
    bench.assert_clean();
}

#[test]
fn a_repository_that_wants_a_password_is_explained() {
    let bench = Bench::plain();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    // It serves until the tests end.
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\
                          Content-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let url = format!("http://127.0.0.1:{port}/private.git");
    let run = bench.kiln(&["build", &url, "--json"]);
    let result = run.last();
    assert_eq!((run.code, &result["exit_code"]), (1, &1.into()), "{run:?}");
    assert_eq!(result["errors"][0]["kind"], "denied", "{run:?}");
    assert!(result["errors"][0]["hint"].is_string(), "{run:?}");
    bench.assert_clean();
}
