use super::{
    fetch, holds, is, open, refusal,
    repo::Repo,
    resolve, run,
    server::{Rules, Server},
    step,
};
use kiln::{ErrorKind, Revision, Secret, SourceSpec, port::Source, secret::SecretRef};
use kiln_git::{GitConfig, GitSource};
use std::{path::PathBuf, sync::Arc};

fn head(repo: &Repo) -> String {
    repo.git(&["rev-parse", "HEAD"])
}

/// Objects in the `.git` that is kept when a URL is fetched.
async fn received(spec: &SourceSpec, revision: &Revision) -> String {
    let (step, _workspace) = step();
    let source = GitSource::new(GitConfig { keep_git: true, ..open() });
    source.fetch(&step, spec, revision, &step.path("src")).await.unwrap();
    let git =
        super::repo::git(&step.path("src")).args(["rev-list", "--count", "HEAD"]).output().unwrap();
    String::from_utf8(git.stdout).unwrap().trim().to_owned()
}

#[test]
fn one_commit_is_received_and_no_more() {
    run("one_commit_is_received_and_no_more", async {
        let repo = Repo::small();
        let first = head(&repo);
        repo.write("b", "2").commit("two");
        let third = repo.write("c", "3").commit("three");
        let server = Server::start(Rules::serve("r.git", repo.bare())).await;
        let spec = SourceSpec::new(server.url("r.git"));
        let (found, log) = fetch(open(), &spec).await.unwrap();
        assert!(found["c"] == "3" && found["sub/run.sh"].starts_with("x:"), "{found:?}");
        assert!(log.contains(&format!("Fetching {} at {}", spec.url, &third[..12])), "{log}");
        assert!(log.contains("remote: "), "{log}");
        let tip = resolve(open(), &spec).await.unwrap();
        assert_eq!(received(&spec, &tip).await, "1");
        // By a commit id that no reference points to.
        let old = Revision { id: first.clone(), reference: None };
        assert_eq!(received(&spec, &old).await, "1");
        let (found, _) = fetch(open(), &spec.clone().reference(&first)).await.unwrap();
        assert!(!found.contains_key("c"));
    });
}

#[test]
fn a_server_that_gives_no_lone_commit_gives_a_branch() {
    run("a_server_that_gives_no_lone_commit_gives_a_branch", async {
        let repo = Repo::small();
        let first = head(&repo);
        repo.write("b", "2").commit("two");
        repo.git(&["config", "uploadpack.allowReachableSHA1InWant", "false"]);
        let server = Server::start(Rules::serve("r.git", repo.bare())).await;
        let spec = SourceSpec::new(server.url("r.git")).reference(&first);
        let (found, _) = fetch(open(), &spec).await.unwrap();
        assert!(!found.contains_key("b") && found.contains_key("Dockerfile"));
        let spec = SourceSpec::new(server.url("r.git")).reference("00".repeat(20));
        is(&refusal(open(), &spec).await, ErrorKind::NotFound, "no such commit");
    });
}

#[test]
fn a_tag_and_a_pull_request_are_fetched() {
    run("a_tag_and_a_pull_request_are_fetched", async {
        let repo = Repo::small();
        repo.git(&["tag", "-a", "v1", "-m", "annotated"]);
        let id = repo.write("new", "2").commit("two");
        repo.git(&["update-ref", "refs/pull/1/head", &id]);
        repo.git(&["reset", "-q", "--hard", "HEAD~"]);
        let server = Server::start(Rules::serve("r.git", repo.bare())).await;
        let url = server.url("r.git");
        let (found, _) = fetch(open(), &SourceSpec::new(format!("{url}#v1"))).await.unwrap();
        assert!(!found.contains_key("new"));
        let (found, _) =
            fetch(open(), &SourceSpec::new(format!("{url}#refs/pull/1/head"))).await.unwrap();
        assert_eq!(found["new"], "2");
        let (found, _) = fetch(open(), &SourceSpec::new(format!("{url}#v1:sub"))).await.unwrap();
        holds(&found, &[("run.sh", "x:#!/bin/sh\n")]);
    });
}

#[test]
fn what_a_server_refuses_is_told_apart() {
    run("what_a_server_refuses_is_told_apart", async {
        let repo = Repo::small();
        let server = Server::start(Rules::serve("r.git", repo.bare())).await;
        let e = refusal(open(), &SourceSpec::new(server.url("other.git"))).await;
        is(&e, ErrorKind::NotFound, "no such repository");
        let e = refusal(open(), &SourceSpec::new(server.url("r.git")).reference("nope")).await;
        is(&e, ErrorKind::NotFound, "no such branch");
        let empty = Repo::empty();
        let server = Server::start(Rules::serve("e.git", empty.bare())).await;
        let e = refusal(open(), &SourceSpec::new(server.url("e.git"))).await;
        is(&e, ErrorKind::NotFound, "is empty");
        let cases = [
            (403, ErrorKind::Denied),
            (429, ErrorKind::RateLimited),
            (503, ErrorKind::Unavailable),
            (200, ErrorKind::NotFound),
        ];
        for (status, kind) in cases {
            let rules = Rules { status: Some(status), ..Rules::default() };
            let server = Server::start(rules).await;
            let e = refusal(open(), &SourceSpec::new(server.url("r.git"))).await;
            assert_eq!(e.kind(), kind, "{e:?}");
        }
        let e = refusal(open(), &SourceSpec::new("http://127.0.0.1:1/r.git")).await;
        is(&e, ErrorKind::Unavailable, "cannot be reached");
        let e = refusal(open(), &SourceSpec::new("http://no-such-host.invalid/r.git")).await;
        is(&e, ErrorKind::Unavailable, "cannot be resolved");
    });
}

async fn with_secret(url: &str, secret: &str) -> (kiln::Result<Revision>, String) {
    let name = SecretRef::new("git").unwrap();
    let (step, _workspace) = step();
    let mut step = step.secret(name.clone(), Secret::new(secret));
    let mut spec = SourceSpec::new(url);
    spec.credentials = Some(name);
    let source = GitSource::new(open());
    let revision = source.resolve(&step, &spec).await;
    if let Ok(revision) = &revision {
        source.fetch(&step, &spec, revision, &step.path("src")).await.unwrap();
    }
    (revision, step.text().await)
}

#[test]
fn credentials_are_shown_only_to_who_asks() {
    run("credentials_are_shown_only_to_who_asks", async {
        let repo = Repo::small();
        let rules =
            Rules { login: Some("bob:s3cret-token".into()), ..Rules::serve("r.git", repo.bare()) };
        let server = Server::start(rules).await;
        let url = server.url("r.git");
        is(&refusal(open(), &SourceSpec::new(&url)).await, ErrorKind::Denied, "wants credentials");
        let json = r#"{"username":"bob","password":"s3cret-token"}"#;
        for secret in ["bob:s3cret-token", json] {
            let (revision, log) = with_secret(&url, secret).await;
            assert_eq!(revision.unwrap().id, head(&repo));
            assert!(!log.contains("s3cret"), "{log}");
        }
        let (refused, _) = with_secret(&url, "bob:wr0ng-one").await;
        let e = refused.unwrap_err();
        is(&e, ErrorKind::Denied, "refuses these credentials");
        assert!(!format!("{e:?}{e}").contains("wr0ng"), "{e:?}");
        // Once to be asked, once with them: there is no loop.
        assert!(server.requests().len() < 20, "{:?}", server.requests());
        let open_server = Server::start(Rules::serve("r.git", repo.bare())).await;
        with_secret(&open_server.url("r.git"), "bob:s3cret-token").await.0.unwrap();
        assert!(open_server.requests().iter().all(|r| !r.contains("s3cret")));
    });
}

#[test]
fn redirects_are_followed_without_credentials() {
    run("redirects_are_followed_without_credentials", async {
        let repo = Repo::small();
        let target = Server::start(Rules {
            login: Some("bob:s3cret-token".into()),
            ..Rules::serve("r.git", repo.bare())
        })
        .await;
        let plain = Server::start(Rules::serve("r.git", repo.bare())).await;
        let refs = "/info/refs?service=git-upload-pack";
        let to = |url: String| format!("{url}{refs}");
        let redirects = [
            ("moved".to_owned(), to(plain.url("r.git"))),
            ("here".to_owned(), format!("/r.git{refs}")),
            ("loop".to_owned(), format!("/loop{refs}")),
            ("login".to_owned(), "/sign_in".to_owned()),
            ("evil".to_owned(), to(target.url("r.git"))),
            ("file".to_owned(), "file:///etc/passwd".to_owned()),
        ];
        let rules = Rules { redirects: redirects.into(), ..Rules::serve("r.git", repo.bare()) };
        let server = Server::start(rules).await;
        for name in ["moved", "here"] {
            fetch(open(), &SourceSpec::new(server.url(name))).await.unwrap();
        }
        for name in ["loop", "login", "file"] {
            let e = refusal(open(), &SourceSpec::new(server.url(name))).await;
            is(&e, ErrorKind::Unavailable, "redirects");
        }
        let (refused, _) = with_secret(&server.url("evil"), "bob:s3cret-token").await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Denied);
        assert!(target.requests().iter().all(|r| !r.contains("s3cret")), "{:?}", target.requests());
    });
}

#[test]
fn received_bytes_are_limited() {
    run("received_bytes_are_limited", async {
        let repo = Repo::empty();
        let noise: String = (0..200_000).map(|i| format!("{:x}", (i * 7919) % 65_521)).collect();
        repo.write("noise", &noise).commit("large");
        let server = Server::start(Rules::serve("r.git", repo.bare())).await;
        let spec = SourceSpec::new(server.url("r.git"));
        let config = GitConfig { bytes_max: 50_000, ..open() };
        is(&refusal(config, &spec).await, ErrorKind::Exhausted, "more than 50000 bytes");
        fetch(open(), &spec).await.unwrap();
    });
}

/// A key, and a certificate of its own for this host.
pub(crate) fn certificate(directory: &std::path::Path) -> (PathBuf, tokio_rustls::TlsAcceptor) {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let made = std::process::Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(' '))
        .args("-subj /CN=localhost -addext subjectAltName=DNS:localhost".split(' '))
        .args("-addext basicConstraints=critical,CA:FALSE".split(' '))
        .args(["-keyout".as_ref(), key.as_os_str(), "-out".as_ref(), cert.as_os_str()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(&cert).unwrap()],
            PrivateKeyDer::from_pem_file(&key).unwrap(),
        )
        .unwrap();
    (cert, Arc::new(config).into())
}

#[test]
fn tls_is_trusted_only_with_a_known_certificate() {
    run("tls_is_trusted_only_with_a_known_certificate", async {
        let repo = Repo::small();
        let directory = tempfile::tempdir().unwrap();
        let (cert, acceptor) = certificate(directory.path());
        let server = Server::start_with(Rules::serve("r.git", repo.bare()), Some(acceptor)).await;
        let spec = SourceSpec::new(format!("https://localhost:{}/r.git", server.port));
        is(&refusal(open(), &spec).await, ErrorKind::Unavailable, "no safe connection");
        assert!(server.requests().is_empty());
        let config = GitConfig { ca_files: vec![cert.clone()], ..open() };
        assert!(fetch(config, &spec).await.unwrap().0.contains_key("Dockerfile"));
        // The certificate is for the name, not for the address.
        let config = GitConfig { ca_files: vec![cert], ..open() };
        let spec = SourceSpec::new(format!("https://127.0.0.1:{}/r.git", server.port));
        is(&refusal(config, &spec).await, ErrorKind::Unavailable, "no safe connection");
    });
}

#[test]
fn a_redirect_never_leaves_tls() {
    run("a_redirect_never_leaves_tls", async {
        let repo = Repo::small();
        let directory = tempfile::tempdir().unwrap();
        let (cert, acceptor) = certificate(directory.path());
        let plain = Server::start(Rules::serve("r.git", repo.bare())).await;
        let refs = "/info/refs?service=git-upload-pack";
        let to = [("down".to_owned(), format!("{}{refs}", plain.url("r.git")))];
        let rules = Rules { redirects: to.into(), ..Rules::default() };
        let server = Server::start_with(rules, Some(acceptor)).await;
        let config = GitConfig { ca_files: vec![cert], ..open() };
        let spec = SourceSpec::new(format!("https://localhost:{}/down", server.port));
        is(&refusal(config, &spec).await, ErrorKind::Unavailable, "less safe");
        assert!(plain.requests().is_empty());
    });
}
