//! Where archives may come from.

use super::{
    Pack, open, run,
    server::{Answer, Server},
    source,
};
use kiln::{Error, ErrorKind, Result, Revision, SourceSpec, port::Source};
use kiln_archive::ArchiveConfig;
use kiln_conformance::step::TestStep;
use std::time::{Duration, Instant};

async fn resolve(config: ArchiveConfig, url: String) -> Result<Revision> {
    source(config).1.resolve(&TestStep::new(), &SourceSpec::new(url)).await
}

async fn refusal(config: ArchiveConfig, url: String) -> Error {
    resolve(config, url).await.unwrap_err()
}

#[test]
fn what_is_not_on_the_public_internet_is_not_reached() {
    run("what_is_not_on_the_public_internet", async {
        let server = Server::start();
        server.serve("/x.tar", Pack::new().file("f", "x").done());
        // By address, however it is written, and by a name that leads here.
        for url in [
            server.url("/x.tar"),
            server.named("/x.tar"),
            server.url("/x.tar").replace("127.0.0.1", "[::ffff:127.0.0.1]"),
            server.url("/x.tar").replace("127.0.0.1", "2130706433"),
            server.url("/x.tar").replace("127.0.0.1", "0x7f.1"),
            server.url("/x.tar").replace("127.0.0.1", "0"),
            "http://169.254.169.254/latest/x.tar".into(),
        ] {
            let e = refusal(ArchiveConfig::default(), url.clone()).await;
            assert_eq!(e.kind(), ErrorKind::Denied, "{url}: {e:?}");
        }
        assert!(resolve(open(), server.named("/x.tar")).await.is_ok());
    });
}

#[test]
fn redirects_are_followed_as_far_as_is_sane() {
    run("redirects_are_followed", async {
        let server = Server::start();
        server.serve("/x.tar", Pack::new().file("f", "x").done());
        server.at("/moved.tar", Answer::Redirect("/x.tar".into()));
        server.at("/loop.tar", Answer::Redirect("/loop.tar".into()));
        server.at("/file.tar", Answer::Redirect("file:///etc/passwd".into()));
        let there = resolve(open(), server.url("/x.tar")).await.unwrap();
        assert_eq!(resolve(open(), server.url("/moved.tar")).await.unwrap(), there);
        let e = refusal(open(), server.url("/loop.tar")).await;
        assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
        let e = refusal(open(), server.url("/file.tar")).await;
        assert_eq!(e.kind(), ErrorKind::Denied, "{e:?}");
    });
}

#[test]
fn what_a_server_does_has_its_kind() {
    run("what_a_server_does_has_its_kind", async {
        let server = Server::start();
        for (status, kind) in [
            (404, ErrorKind::NotFound),
            (410, ErrorKind::NotFound),
            (401, ErrorKind::Denied),
            (403, ErrorKind::Denied),
            (429, ErrorKind::RateLimited),
            (503, ErrorKind::Unavailable),
            (204, ErrorKind::Invalid),
        ] {
            server.at("/x.tar", Answer::Status(status));
            let e = refusal(open(), server.url("/x.tar")).await;
            assert_eq!(e.kind(), kind, "{status}: {e:?}");
        }
        server.at("/cut.tar", Answer::Cut(5000, vec![0; 1000]));
        let e = refusal(open(), server.url("/cut.tar?sig=s3cret")).await;
        assert_eq!(e.kind(), ErrorKind::NotFound, "another path: {e:?}");
        let e = refusal(open(), server.url("/cut.tar")).await;
        assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
    });
}

#[test]
fn too_much_too_late_and_too_silent_come_to_an_end() {
    run("too_much_too_late_and_too_silent", async {
        let server = Server::start();
        server.serve("/x.tar", vec![0; 5000]);
        server.at("/silent.tar", Answer::Silence);
        let mut config = open();
        config.bytes_max = 4999;
        let e = refusal(config, server.url("/x.tar")).await;
        assert_eq!(e.kind(), ErrorKind::Exhausted, "{e:?}");
        let mut config = open();
        config.server_timeout = Duration::from_millis(200);
        let begin = Instant::now();
        let e = refusal(config, server.url("/silent.tar")).await;
        assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
        assert!(begin.elapsed() < Duration::from_secs(20));
    });
}

#[test]
fn a_secret_in_a_url_is_not_repeated() {
    run("a_secret_in_a_url_is_not_repeated", async {
        let server = Server::start();
        let e = refusal(open(), server.url("/none.tar?sig=s3cret")).await;
        assert!(!format!("{e} {e:?}").contains("s3cret"), "{e:?}");
        let login = server.url("/x.tar").replace("127", "bob:s3cret@127");
        let e = refusal(open(), login).await;
        assert_eq!(e.kind(), ErrorKind::Invalid);
        assert!(!format!("{e} {e:?}").contains("s3cret"), "{e:?}");
    });
}

#[test]
fn a_digest_that_is_named_has_to_be_met() {
    run("a_digest_that_is_named_has_to_be_met", async {
        let server = Server::start();
        server.serve("/x.tar", Pack::new().file("f", "x").done());
        let right = resolve(open(), server.url("/x.tar")).await.unwrap();
        let wrong = format!("sha256:{}", "0".repeat(64));
        let into = tempfile::tempdir().unwrap();
        for (digest, fits) in [(right.id, true), (wrong, false)] {
            let (_, source) = source(open());
            let spec = SourceSpec::new(server.url("/x.tar")).reference(&digest);
            let step = TestStep::new();
            let revision = source.resolve(&step, &spec).await.unwrap();
            assert_eq!(revision.id, digest);
            let fetched = source.fetch(&step, &spec, &revision, &into.path().join("a")).await;
            assert_eq!(fetched.is_ok(), fits, "{fetched:?}");
        }
    });
}
