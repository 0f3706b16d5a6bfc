use super::{
    is, open,
    repo::Repo,
    run,
    server::{Rules, Server},
    step,
};
use kiln::{ErrorKind, Revision, SourceSpec, StopReason, port::Source};
use kiln_git::{GitConfig, GitSource};
use std::{
    fs,
    time::{Duration, Instant},
};
use tokio::{io::AsyncReadExt, net::TcpListener};

/// A server that takes every connection, reads, and says nothing.
async fn silent() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let mut all = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            all.spawn(
                async move { while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {} },
            );
        }
    });
    (port, task)
}

#[test]
fn a_cancel_ends_waiting_for_a_silent_server() {
    run("a_cancel_ends_waiting_for_a_silent_server", async {
        let (port, server) = silent().await;
        for scheme in ["http", "https", "ssh"] {
            let (step, workspace) = step();
            let spec = SourceSpec::new(format!("{scheme}://localhost:{port}/r.git"));
            let source = GitSource::new(open());
            let revision = Revision { id: "12".repeat(20), reference: None };
            let cancel = step.cancel.clone();
            let start = Instant::now();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(150)).await;
                cancel.cancel(StopReason::Cancel);
            });
            let e = source.fetch(&step, &spec, &revision, &step.path("src")).await.unwrap_err();
            is(&e, ErrorKind::Cancelled, "asked to stop");
            assert!(start.elapsed() < Duration::from_secs(1), "{scheme}: {:?}", start.elapsed());
            assert_eq!(fs::read_dir(workspace.path()).unwrap().count(), 0, "{scheme}");
            // Once cancelled, nothing begins.
            let e = source.resolve(&step, &spec).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Cancelled);
        }
        server.abort();
    });
}

#[test]
fn a_silent_server_is_given_up() {
    run("a_silent_server_is_given_up", async {
        let (port, server) = silent().await;
        let config = GitConfig {
            connect_timeout: Duration::from_millis(300),
            server_timeout: Duration::from_millis(300),
            ..open()
        };
        for scheme in ["http", "https", "ssh"] {
            let spec = SourceSpec::new(format!("{scheme}://localhost:{port}/r.git"));
            let start = Instant::now();
            let e = super::resolve(config.clone(), &spec).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
            assert!(start.elapsed() < Duration::from_secs(3), "{scheme}: {:?}", start.elapsed());
        }
        server.abort();
    });
}

#[test]
fn a_dropped_call_leaves_nothing_behind() {
    run("a_dropped_call_leaves_nothing_behind", async {
        let repo = Repo::small();
        let server = Server::start(Rules::serve("r.git", repo.bare())).await;
        let spec = SourceSpec::new(server.url("r.git"));
        let revision = super::resolve(open(), &spec).await.unwrap();
        for times in (0..60).step_by(6) {
            let (step, workspace) = step();
            let (source, into) = (GitSource::new(open()), step.path("src"));
            let fetch = source.fetch(&step, &spec, &revision, &into);
            let done = kiln_conformance::poll_times(fetch, times).await.is_some();
            let expected = usize::from(done);
            let clean = async {
                loop {
                    let left = fs::read_dir(workspace.path()).unwrap().filter(|e| {
                        e.as_ref().unwrap().file_name().to_string_lossy().starts_with(".kiln")
                    });
                    if left.count() == 0 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(5), clean).await.unwrap();
            assert!(fs::read_dir(workspace.path()).unwrap().count() >= expected);
        }
    });
}
