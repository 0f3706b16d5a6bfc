//! Servers that take their time, and steps that do not.

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
    path::Path,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// What a cancelled call may take.
const SOON: Duration = Duration::from_secs(1);

/// Passes bytes on to a server. Of what comes back the first ones are passed on at once; after them
/// one at every pause, or none any more.
struct Slow {
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Slow {
    async fn start(to: u16, at_once: usize, pause: Option<Duration>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let (mut near_in, near_out) = near.into_split();
                let (far_in, mut far_out) = far.into_split();
                tokio::spawn(async move { copy(&mut near_in, &mut far_out).await });
                tokio::spawn(answer(far_in, near_out, at_once, pause));
            }
        });
        Self { port, task }
    }

    fn spec(&self) -> SourceSpec {
        SourceSpec::new(format!("http://127.0.0.1:{}/r.git", self.port))
    }
}

async fn answer(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    at_once: usize,
    pause: Option<Duration>,
) -> std::io::Result<()> {
    copy(&mut (&mut from).take(at_once as u64), &mut to).await?;
    loop {
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => std::future::pending().await,
        }
        to.write_u8(from.read_u8().await?).await?;
    }
}

/// Fetches and cancels after a while. Gives how long the end took from there, none if it was done.
async fn cancelled_after(
    config: GitConfig,
    spec: &SourceSpec,
    revision: &Revision,
    after: Duration,
) -> Option<Duration> {
    let (step, workspace) = step();
    let cancel = step.cancel.clone();
    let at = tokio::spawn(async move {
        tokio::time::sleep(after).await;
        cancel.cancel(StopReason::Cancel);
        Instant::now()
    });
    let fetched = GitSource::new(config).fetch(&step, spec, revision, &step.path("src")).await;
    let end = Instant::now();
    if fetched.is_ok() {
        return None;
    }
    assert_eq!(fetched.unwrap_err().kind(), ErrorKind::Cancelled);
    let took = end.duration_since(at.await.unwrap());
    becomes_empty(workspace.path()).await;
    Some(took)
}

async fn becomes_empty(directory: &Path) {
    let start = Instant::now();
    while fs::read_dir(directory).unwrap().next().is_some() {
        assert!(start.elapsed() < Duration::from_secs(10), "something remains");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn large() -> (Repo, Revision) {
    let repo = Repo::empty();
    let noise: String = (0..200_000).map(|i| format!("{:x}", (i * 7919) % 65_521)).collect();
    let id = repo.write("noise", &noise).commit("large");
    (repo, Revision { id, reference: Some("refs/heads/main".into()) })
}

#[test]
fn a_cancel_ends_every_phase_of_a_slow_answer() {
    run("a_cancel_ends_every_phase_of_a_slow_answer", async {
        let (repo, revision) = large();
        let server = Server::start(Rules::serve("r.git", repo.bare())).await;
        // Before the references, within them, before the pack, and within it.
        for at_once in [0, 250, 700, 60_000] {
            let slow = Slow::start(server.port, at_once, None).await;
            let after = Duration::from_millis(400);
            let took = cancelled_after(open(), &slow.spec(), &revision, after).await;
            assert!(took.unwrap() < SOON, "{at_once}: {took:?}");
        }
    });
}

#[test]
fn a_cancel_ends_an_attempt_to_connect() {
    run("a_cancel_ends_an_attempt_to_connect", async {
        // A port whose queue is full answers nobody.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(Ok(stream)) =
            tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
        {
            queue.push(stream);
            assert!(queue.len() < 1000, "the queue has no end");
        }
        let revision = Revision { id: "12".repeat(20), reference: None };
        for scheme in ["http", "https", "ssh"] {
            let spec = SourceSpec::new(format!("{scheme}://{address}/r.git"));
            let after = Duration::from_millis(300);
            let took = cancelled_after(open(), &spec, &revision, after).await;
            assert!(took.unwrap() < SOON, "{scheme}: {took:?}");
            let config = GitConfig { connect_timeout: Duration::from_millis(300), ..open() };
            let e = super::resolve(config, &spec).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
        }
    });
}

#[test]
fn a_server_that_trickles_is_given_up() {
    run("a_server_that_trickles_is_given_up", async {
        let (repo, revision) = large();
        let server = Server::start(Rules::serve("r.git", repo.bare())).await;
        let config = GitConfig { server_timeout: SOON, ..open() };
        // Within the references, and within the pack.
        for at_once in [250, 60_000] {
            let slow = Slow::start(server.port, at_once, Some(Duration::from_millis(250))).await;
            let (step, _workspace) = step();
            let source = GitSource::new(config.clone());
            let start = Instant::now();
            let into = step.path("src");
            let e = source.fetch(&step, &slow.spec(), &revision, &into).await.unwrap_err();
            is(&e, ErrorKind::Unavailable, "sent no more than");
            assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
        }
    });
}

#[test]
fn a_cancel_ends_the_writing_of_many_files() {
    const FILES: usize = 20_000;
    run("a_cancel_ends_the_writing_of_many_files", async {
        let repo = Repo::empty();
        let mut stream =
            "commit refs/heads/main\ncommitter T <t@example.org> 0 +0000\ndata 1\nx\n".to_owned();
        for i in 0..FILES {
            let text = format!("this is file {i}");
            let length = text.len();
            stream += &format!("M 100644 inline d{}/f{i}\ndata {length}\n{text}\n", i / 100);
        }
        repo.pipe(&["fast-import", "--quiet"], stream.as_bytes());
        let revision = Revision {
            id: repo.git(&["rev-parse", "main"]),
            reference: Some("refs/heads/main".into()),
        };
        let server = Server::start(Rules::serve("r.git", repo.bare())).await;
        let spec = SourceSpec::new(server.url("r.git"));
        // Each a little later than the one before, through all that a fetch does.
        for step in 0..12 {
            let after = Duration::from_millis(10 << step);
            let Some(took) = cancelled_after(open(), &spec, &revision, after).await else { break };
            assert!(took < SOON, "after {after:?}: {took:?}");
        }
    });
}
