use super::{files, is, open, repo::Repo, run, step};
use kiln::{Error, ErrorKind, Secret, SourceSpec, port::Source, secret::SecretRef};
use kiln_git::{GitConfig, GitSource};
use serde_json::json;
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Where the server is: it starts itself anew and so wants to be called by its whole path.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join("sshd")).find(|program| program.is_file())
}

/// An SSH server of our own that lets one key in, as whoever runs the tests.
struct Sshd {
    directory: tempfile::TempDir,
    port: u16,
    user: String,
    child: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn keygen(at: &Path, kind: &str) {
    let format = if kind == "rsa" { "PEM" } else { "RFC4716" };
    output("ssh-keygen", &["-q", "-t", kind, "-N", "", "-m", format, "-f", at.to_str().unwrap()]);
}

impl Sshd {
    /// `None` where there is no server to start.
    fn start(test: &str) -> Option<Self> {
        let Some(program) = program() else {
            println!("SKIPPED: {test}: there is no sshd");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (name, kind) in [
            ("host_ed25519", "ed25519"),
            ("host_rsa", "rsa"),
            ("key", "ed25519"),
            ("rsa", "rsa"),
            ("other", "ed25519"),
            ("ecdsa", "ecdsa"),
        ] {
            keygen(&at(name), kind);
        }
        let authorized =
            ["key.pub", "rsa.pub", "ecdsa.pub"].map(|f| fs::read_to_string(at(f)).unwrap());
        fs::write(at("authorized"), authorized.concat()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nHostKey {}\nAuthorizedKeysFile {}\n\
             StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\n\
             SetEnv PATH={}\n",
            at("host_ed25519").display(),
            at("host_rsa").display(),
            at("authorized").display(),
            std::env::var("PATH").unwrap(),
        );
        fs::write(at("config"), config).unwrap();
        // Where Debian's server wants to retreat to.
        let _ = fs::create_dir_all("/run/sshd");
        let child = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(at("config"))
            .stderr(fs::File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        let sshd = Self { port, user: output("id", &["-un"]), child, directory };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if start.elapsed() > Duration::from_secs(5) {
                println!("SKIPPED: {test}: {}", fs::read_to_string(sshd.at("log")).unwrap());
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(sshd)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file of known hosts with some of the server's keys.
    fn known(&self, keys: &[&str]) -> PathBuf {
        let file = self.at("known_hosts");
        let line = |key: &&str| {
            let key = fs::read_to_string(self.at(&format!("{key}.pub"))).unwrap();
            format!("[127.0.0.1]:{} {key}", self.port)
        };
        fs::write(&file, keys.iter().map(line).collect::<String>()).unwrap();
        file
    }

    fn config(&self, known: &[&str]) -> GitConfig {
        GitConfig { known_hosts: vec![self.known(known)], ..open() }
    }

    fn url(&self, path: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, path.display())
    }

    /// Fetches with one of the keys and gives the names of the files.
    async fn fetch(
        &self,
        config: GitConfig,
        path: &Path,
        key: Option<&str>,
    ) -> kiln::Result<Vec<String>> {
        let name = SecretRef::new("key").unwrap();
        let secret = key.map(|k| fs::read_to_string(self.at(k)).unwrap()).unwrap_or_default();
        let (step, _workspace) = step();
        let mut step = step.secret(name.clone(), Secret::new(secret.as_bytes()));
        let mut spec = SourceSpec::new(self.url(path));
        spec.credentials = key.map(|_| name);
        let source = GitSource::new(config);
        let revision = source.resolve(&step, &spec).await?;
        source.fetch(&step, &spec, &revision, &step.path("src")).await?;
        assert!(!step.text().await.contains("PRIVATE KEY"));
        Ok(files(&step.path("src")).into_keys().collect())
    }

    async fn refusal(&self, config: GitConfig, path: &Path, key: Option<&str>) -> Error {
        self.fetch(config, path, key).await.unwrap_err()
    }
}

#[test]
fn a_repository_is_fetched_over_ssh() {
    run("a_repository_is_fetched_over_ssh", async {
        let Some(sshd) = Sshd::start("a_repository_is_fetched_over_ssh") else { return };
        let repo = Repo::small();
        let expected = ["Dockerfile", "link", "sub", "sub/run.sh"];
        for key in ["key", "rsa"] {
            let config = sshd.config(&["host_ed25519"]);
            let found = sshd.fetch(config, repo.path(), Some(key)).await.unwrap();
            assert_eq!(found, expected, "{key}");
        }
        // The server has keys of two kinds: one that is known is enough, and names may be hashed.
        for known in ["host_rsa", "host_ed25519"] {
            let config = sshd.config(&[known]);
            output("ssh-keygen", &["-q", "-H", "-f", config.known_hosts[0].to_str().unwrap()]);
            sshd.fetch(config, repo.path(), Some("key")).await.unwrap();
        }
        // A path that a shell would take apart.
        let odd = repo.path().join("it's $(touch x); odd");
        repo.git(&["clone", "-q", "--bare", ".", odd.to_str().unwrap()]);
        let config = sshd.config(&["host_ed25519"]);
        assert_eq!(sshd.fetch(config, &odd, Some("key")).await.unwrap(), expected);
        assert!(!repo.path().join("x").exists());
        // The keys of this host, where they may be used.
        let config = GitConfig {
            use_host_credentials: true,
            identities: vec![sshd.at("missing"), sshd.at("other"), sshd.at("key")],
            ..sshd.config(&["host_ed25519"])
        };
        assert_eq!(sshd.fetch(config, repo.path(), None).await.unwrap(), expected);
    });
}

#[test]
fn a_host_that_is_not_known_is_not_talked_to() {
    run("a_host_that_is_not_known_is_not_talked_to", async {
        let Some(sshd) = Sshd::start("a_host_that_is_not_known_is_not_talked_to") else { return };
        let repo = Repo::small();
        let e = sshd.refusal(sshd.config(&[]), repo.path(), Some("key")).await;
        is(&e, ErrorKind::Denied, "key is not known");
        let line = output("ssh-keygen", &["-lf", sshd.at("host_ed25519.pub").to_str().unwrap()]);
        let rsa = output("ssh-keygen", &["-lf", sshd.at("host_rsa.pub").to_str().unwrap()]);
        let print = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
        let shown = e.to_string();
        assert!(shown.contains(&print(&line)) || shown.contains(&print(&rsa)), "{e}");
        let e = sshd.refusal(sshd.config(&["other"]), repo.path(), Some("key")).await;
        is(&e, ErrorKind::Denied, "another key than the known one");
        assert!(e.hint_text().unwrap().contains("known_hosts"));
    });
}

#[test]
fn what_an_ssh_server_refuses_is_told_apart() {
    run("what_an_ssh_server_refuses_is_told_apart", async {
        let Some(sshd) = Sshd::start("what_an_ssh_server_refuses_is_told_apart") else { return };
        let repo = Repo::small();
        let known = || sshd.config(&["host_ed25519"]);
        is(&sshd.refusal(known(), repo.path(), None).await, ErrorKind::Denied, "wants a key");
        let e = sshd.refusal(known(), repo.path(), Some("other")).await;
        is(&e, ErrorKind::Denied, "refuses these credentials");
        let e = sshd.refusal(known(), Path::new("/no/such"), Some("key")).await;
        is(&e, ErrorKind::NotFound, "gives no repository");
        let config = GitConfig { bytes_max: 100, ..known() };
        is(
            &sshd.refusal(config, repo.path(), Some("key")).await,
            ErrorKind::Exhausted,
            "100 bytes",
        );
    });
}

/// Puts a passphrase on a copy of a key.
fn locked(sshd: &Sshd, name: &str, form: &[&str]) -> String {
    let at = sshd.at(&format!("{name}-locked"));
    fs::copy(sshd.at(name), &at).unwrap();
    let file = at.to_str().unwrap();
    output(
        "ssh-keygen",
        &[&["-q", "-p", "-P", "", "-N", "open sesame", "-f", file], form].concat(),
    );
    fs::read_to_string(at).unwrap()
}

impl Sshd {
    async fn with_text(&self, repo: &Repo, secret: &str) -> kiln::Result<Vec<String>> {
        fs::write(self.at("secret"), secret).unwrap();
        self.fetch(self.config(&["host_ed25519"]), repo.path(), Some("secret")).await
    }
}

#[test]
fn a_key_with_a_passphrase_is_opened_with_it() {
    const NAME: &str = "a_key_with_a_passphrase_is_opened_with_it";
    run(NAME, async {
        let Some(sshd) = Sshd::start(NAME) else { return };
        let repo = Repo::small();
        for (name, form) in [("key", &[][..]), ("ecdsa", &[]), ("rsa", &["-m", "PEM"])] {
            let key = locked(&sshd, name, form);
            let e = sshd.with_text(&repo, &key).await.unwrap_err();
            is(&e, ErrorKind::Invalid, "has a passphrase");
            let secret = json!({ "key": key, "passphrase": "open sesame" }).to_string();
            assert!(sshd.with_text(&repo, &secret).await.is_ok(), "{name}");
            let secret = json!({ "key": key, "passphrase": "hunter2" }).to_string();
            let e = sshd.with_text(&repo, &secret).await.unwrap_err();
            is(&e, ErrorKind::Denied, "does not open the key");
            assert!(!format!("{e:?} {e}").contains("hunter2"), "{e:?}");
        }
        let public = fs::read_to_string(sshd.at("key.pub")).unwrap();
        let e = sshd.with_text(&repo, &public).await.unwrap_err();
        is(&e, ErrorKind::Invalid, "this is a public key");
    });
}

/// An agent that ends with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(socket: &Path) {
    let start = Instant::now();
    while !socket.exists() {
        assert!(start.elapsed() < Duration::from_secs(5), "no {}", socket.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_agent_shows_the_keys_it_has() {
    const NAME: &str = "an_agent_shows_the_keys_it_has";
    run(NAME, async {
        let Some(sshd) = Sshd::start(NAME) else { return };
        let repo = Repo::small();
        let socket = sshd.at("agent");
        let agent = Command::new("ssh-agent")
            .stdout(Stdio::null())
            .args(["-D", "-a"])
            .arg(&socket)
            .spawn()
            .unwrap();
        let _agent = Agent(agent);
        wait_for(&socket);
        let config = || GitConfig {
            use_host_credentials: true,
            ssh_agent: Some(socket.clone()),
            ..sshd.config(&["host_ed25519"])
        };
        let e = sshd.refusal(config(), repo.path(), None).await;
        is(&e, ErrorKind::Denied, "accepts no key of this host");
        for key in ["other", "ecdsa"] {
            let mut add = Command::new("ssh-add");
            add.arg("-q").arg(sshd.at(key)).env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null());
            assert!(add.status().unwrap().success());
        }
        sshd.fetch(config(), repo.path(), None).await.unwrap();
        // Where the host's own credentials may not be used, the agent is not asked.
        let config = GitConfig { use_host_credentials: false, ..config() };
        is(&sshd.refusal(config, repo.path(), None).await, ErrorKind::Denied, "wants a key");
    });
}

#[test]
fn an_agent_that_is_silent_is_given_up_and_cancelled() {
    const NAME: &str = "an_agent_that_is_silent_is_given_up_and_cancelled";
    run(NAME, async {
        let Some(sshd) = Sshd::start(NAME) else { return };
        let repo = Repo::small();
        let socket = sshd.at("silent");
        // Whoever connects waits in its queue.
        let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let config = || GitConfig {
            use_host_credentials: true,
            ssh_agent: Some(socket.clone()),
            ..sshd.config(&["host_ed25519"])
        };
        let short = GitConfig { server_timeout: Duration::from_millis(300), ..config() };
        let e = sshd.refusal(short, repo.path(), None).await;
        is(&e, ErrorKind::Unavailable, "the SSH agent gave no answer");
        let (step, _workspace) = step();
        let cancel = step.cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            cancel.cancel(kiln::StopReason::Cancel);
        });
        let start = Instant::now();
        let spec = SourceSpec::new(sshd.url(repo.path()));
        let e = GitSource::new(config()).resolve(&step, &spec).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Cancelled);
        assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    });
}

#[test]
fn a_key_of_a_file_that_has_a_passphrase_is_named() {
    const NAME: &str = "a_key_of_a_file_that_has_a_passphrase_is_named";
    run(NAME, async {
        let Some(sshd) = Sshd::start(NAME) else { return };
        let repo = Repo::small();
        locked(&sshd, "key", &[]);
        let config = GitConfig {
            use_host_credentials: true,
            identities: vec![sshd.at("key-locked")],
            ..sshd.config(&["host_ed25519"])
        };
        let e = sshd.refusal(config, repo.path(), None).await;
        is(&e, ErrorKind::Denied, "key-locked: the key has a passphrase");
        assert!(e.hint_text().unwrap().contains("ssh-add"), "{e:?}");
    });
}

#[test]
fn a_revoked_host_key_is_refused_though_it_is_known() {
    const NAME: &str = "a_revoked_host_key_is_refused_though_it_is_known";
    run(NAME, async {
        let Some(sshd) = Sshd::start(NAME) else { return };
        let repo = Repo::small();
        let config = sshd.config(&["host_ed25519"]);
        let file = &config.known_hosts[0];
        let key = fs::read_to_string(sshd.at("host_ed25519.pub")).unwrap();
        let known = fs::read_to_string(file).unwrap();
        fs::write(file, format!("{known}@revoked * {key}")).unwrap();
        let e = sshd.refusal(config.clone(), repo.path(), Some("key")).await;
        is(&e, ErrorKind::Denied, "revoked");
        // A line that nobody can read hides no other, and patterns count.
        fs::write(file, format!("what is this\n\n@strange\n127.0.0.? {key}")).unwrap();
        sshd.fetch(config.clone(), repo.path(), Some("key")).await.unwrap();
        fs::write(file, format!("!127.0.0.1,* {key}")).unwrap();
        let e = sshd.refusal(config.clone(), repo.path(), Some("key")).await;
        is(&e, ErrorKind::Denied, "key is not known");
        let hint = e.hint_text().unwrap();
        let command = format!("`ssh-keyscan -p {} 127.0.0.1 >> {}`", sshd.port, file.display());
        assert!(hint.contains(&command), "{hint}");
    });
}
