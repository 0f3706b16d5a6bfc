use super::{
    is, open, refusal,
    repo::Repo,
    resolve, run,
    server::{Rules, Server},
};
use kiln::{ErrorKind, SourceSpec, port::Source};
use kiln_git::{GitConfig, GitSource};

#[test]
fn a_server_reaches_the_public_internet_only() {
    run("a_server_reaches_the_public_internet_only", async {
        let repo = Repo::small();
        let server = Server::start(Rules::serve("r.git", repo.bare())).await;
        let port = server.port;
        // However the loopback is written, and a name that leads there.
        let hosts = [
            "127.0.0.1",
            "localhost",
            "0.0.0.0",
            "127.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::]",
            "127.0.0.1.",
            "LOCALHOST",
        ];
        for host in hosts {
            let spec = SourceSpec::new(format!("http://{host}:{port}/r.git"));
            let e = refusal(GitConfig::default(), &spec).await;
            is(&e, ErrorKind::Denied, "not on the public internet");
            let spec = SourceSpec::new(format!("ssh://git@{host}:{port}/r.git"));
            let e = refusal(GitConfig::default(), &spec).await;
            is(&e, ErrorKind::Denied, "not on the public internet");
        }
        for host in ["10.0.0.1", "169.254.169.254", "192.168.0.1", "[fe80::1]", "[fd00::1]"] {
            let spec = SourceSpec::new(format!("https://{host}/r.git"));
            let e = refusal(GitConfig::default(), &spec).await;
            is(&e, ErrorKind::Denied, "not on the public internet");
        }
        assert!(server.requests().is_empty());
    });
}

#[test]
fn paths_are_refused_unless_allowed() {
    run("paths_are_refused_unless_allowed", async {
        let repo = Repo::small();
        for url in [repo.url(), format!("file://{}", repo.url()), "./x".into(), "../x".into()] {
            let e = refusal(GitConfig::default(), &SourceSpec::new(url)).await;
            is(&e, ErrorKind::Denied, "not allowed on this node");
        }
        // Whether there is such a path is not told either.
        let e = refusal(GitConfig::default(), &SourceSpec::new("/no/such")).await;
        is(&e, ErrorKind::Denied, "not allowed on this node");
    });
}

#[test]
fn a_wrong_address_is_accepted_to_be_refused_with_a_reason() {
    run("a_wrong_address_is_accepted_to_be_refused_with_a_reason", async {
        let source = GitSource::new(open());
        for url in ["ext::sh -c touch% /tmp/x", "https://u:hunter2@h/r.git", "-x", "git://h/r"] {
            let spec = SourceSpec::new(url);
            assert!(source.accepts(&spec), "{url}");
            let e = resolve(open(), &spec).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid, "{e:?}");
            assert!(!format!("{e:?} {:?}", e.hint_text()).contains("hunter2"), "{e:?}");
        }
        for url in ["memory:x", "s3://bucket/key", "name", "", "svn+ssh://h/r"] {
            assert!(!source.accepts(&SourceSpec::new(url)), "{url}");
        }
        for reference in ["--upload-pack=x", "a..b", "a b", "x\n", "@{-1}", "HEAD~1", ":/x"] {
            let spec = SourceSpec::new("https://example.org/r.git").reference(reference);
            // The reference is looked at when references are known, which here they never are.
            assert!(resolve(GitConfig::default(), &spec).await.is_err(), "{reference}");
        }
    });
}
