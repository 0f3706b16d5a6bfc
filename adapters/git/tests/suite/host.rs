//! Credentials that the host has: helpers of git and `.netrc`.

use super::{
    fetch, is, refusal,
    repo::Repo,
    run,
    server::{Rules, Server},
    step,
};
use kiln::{ErrorKind, SourceSpec, StopReason, port::Source};
use kiln_git::{GitConfig, GitSource};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A home with a helper, and a server that wants what the helper knows.
struct Home {
    directory: tempfile::TempDir,
    server: Server,
    _repo: Repo,
}

impl Home {
    async fn new(helper: &str) -> Self {
        let repo = Repo::small();
        let login = Some("bob:s3cret-token".into());
        let server = Server::start(Rules { login, ..Rules::serve("r.git", repo.bare()) }).await;
        let home = Self { directory: tempfile::tempdir().unwrap(), server, _repo: repo };
        home.write("helper", helper);
        let run = format!("[credential]\n\thelper = !sh {}\n", home.at("helper").display());
        home.write(".gitconfig", &run);
        home
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text.replace("HOME", self.directory.path().to_str().unwrap()))
            .unwrap();
    }

    fn config(&self) -> GitConfig {
        let none = |_: &str| Some("/dev/null".to_owned()).filter(|_| false);
        GitConfig { known_hosts: Vec::new(), ..GitConfig::from_vars(self.directory.path(), none) }
    }

    fn spec(&self) -> SourceSpec {
        SourceSpec::new(self.server.url("r.git"))
    }
}

const GOOD: &str = "test \"$1\" = get || exit 1\ncat > HOME/asked\n\
                    echo username=bob\necho password=s3cret-token\n";

#[test]
fn a_helper_is_asked_where_a_server_asks() {
    run("a_helper_is_asked_where_a_server_asks", async {
        let home = Home::new(GOOD).await;
        let (mut step, _workspace) = step();
        let source = GitSource::new(home.config());
        let revision = source.resolve(&step, &home.spec()).await.unwrap();
        source.fetch(&step, &home.spec(), &revision, &step.path("src")).await.unwrap();
        let asked = fs::read_to_string(home.at("asked")).unwrap();
        assert_eq!(asked, format!("protocol=http\nhost=127.0.0.1:{}\n\n", home.server.port));
        // What was revealed is taken out of whatever is logged from then on.
        step.log.line("bob:s3cret-token");
        assert!(!step.text().await.contains("s3cret"), "{}", step.text().await);
        // No server asks, no helper runs.
        fs::remove_file(home.at("asked")).unwrap();
        let repo = Repo::small();
        let free = Server::start(Rules::serve("r.git", repo.bare())).await;
        fetch(home.config(), &SourceSpec::new(free.url("r.git"))).await.unwrap();
        // Nor where the host's credentials are not for plans.
        let config = GitConfig { use_host_credentials: false, ..home.config() };
        is(&refusal(config, &home.spec()).await, ErrorKind::Denied, "wants credentials");
        assert!(!home.at("asked").exists());
    });
}

#[test]
fn a_helper_that_fails_or_lies_is_passed_over() {
    run("a_helper_that_fails_or_lies_is_passed_over", async {
        for helper in
            ["exit 3", "echo nonsense", "yes username", "echo password=alone", "kill -9 $$"]
        {
            let home = Home::new(helper).await;
            let e = refusal(home.config(), &home.spec()).await;
            is(&e, ErrorKind::Denied, "wants credentials");
        }
        let home = Home::new("echo username=bob; echo password=wr0ng-one").await;
        let e = refusal(home.config(), &home.spec()).await;
        is(&e, ErrorKind::Denied, "refuses these credentials");
        assert!(!format!("{e} {e:?}").contains("wr0ng"), "{e:?}");
    });
}

/// Waits until a process is gone, or is but an entry that its parent has not read yet.
async fn is_gone(pid: &str) {
    let start = Instant::now();
    let alive = || {
        let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    while alive() {
        assert!(start.elapsed() < Duration::from_secs(3), "{pid} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_helper_that_waits_is_killed_with_its_children() {
    const SLOW: &str = "sleep 300 &\necho $! > HOME/pid\necho $$ > HOME/shell\nwait\n";
    run("a_helper_that_waits_is_killed_with_its_children", async {
        let home = Home::new(SLOW).await;
        let config = GitConfig { helper_timeout: Duration::from_millis(300), ..home.config() };
        let e = refusal(config, &home.spec()).await;
        is(&e, ErrorKind::Unavailable, "a credential helper of git gave no answer");
        for file in ["pid", "shell"] {
            is_gone(fs::read_to_string(home.at(file)).unwrap().trim()).await;
            fs::remove_file(home.at(file)).unwrap();
        }
        // The same when the step is cancelled.
        let (step, _workspace) = step();
        let (cancel, pid) = (step.cancel.clone(), home.at("shell"));
        let start = tokio::spawn(async move {
            while !pid.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            cancel.cancel(StopReason::Cancel);
            Instant::now()
        });
        let source = GitSource::new(home.config());
        let e = source.resolve(&step, &home.spec()).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Cancelled);
        assert!(start.await.unwrap().elapsed() < Duration::from_secs(1));
        is_gone(fs::read_to_string(home.at("pid")).unwrap().trim()).await;
    });
}

#[test]
fn netrc_is_read_before_a_helper_is_asked() {
    run("netrc_is_read_before_a_helper_is_asked", async {
        let home = Home::new(GOOD).await;
        home.write(".netrc", "machine 127.0.0.1\nlogin bob\npassword s3cret-token\n");
        let (_, log) = fetch(home.config(), &home.spec()).await.unwrap();
        assert!(!home.at("asked").exists() && !log.contains("s3cret"), "{log}");
        // For another host it says nothing.
        home.write(".netrc", "machine example.org login bob password no\n");
        fetch(home.config(), &home.spec()).await.unwrap();
        assert!(home.at("asked").exists());
    });
}
