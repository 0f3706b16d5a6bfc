use super::{
    fetch,
    http::certificate,
    is, open, refusal,
    repo::Repo,
    run,
    server::{Rules, Server},
};
use kiln::{ErrorKind, SourceSpec};
use kiln_git::{GitConfig, Proxies};
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// A proxy that leads to one port, whatever it is asked for.
struct Proxy {
    port: u16,
    /// `METHOD target [login]` of what was asked first on every connection.
    seen: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// With `login` as base64, nobody else gets through.
    async fn start(to: u16, login: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::default());
        let task = tokio::spawn({
            let seen = seen.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(pass(stream, to, login, seen.clone()));
                }
            }
        });
        Self { port, seen, task }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn pass(mut from: TcpStream, to: u16, login: Option<&str>, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = from.read_u8().await else { return };
        head.push(byte);
    }
    let text = String::from_utf8(head.clone()).unwrap();
    let shown = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.to_owned())
    });
    let asked = text.split(" HTTP/").next().unwrap();
    let note = shown.as_ref().map_or_else(String::new, |shown| format!(" {shown}"));
    seen.lock().unwrap().push(format!("{asked}{note}"));
    if login.is_some_and(|login| shown != Some(format!("Basic {login}"))) {
        let answer = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n";
        return from.write_all(answer).await.unwrap();
    }
    let Ok(mut there) = TcpStream::connect(("127.0.0.1", to)).await else {
        return from.write_all(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    };
    if asked.starts_with("CONNECT ") {
        from.write_all(b"HTTP/1.1 200 Go\r\n\r\n").await.unwrap();
    } else {
        there.write_all(&head).await.unwrap();
    }
    let _ = copy_bidirectional(&mut from, &mut there).await;
}

#[test]
fn https_goes_through_a_tunnel() {
    run("https_goes_through_a_tunnel", async {
        let repo = Repo::small();
        let directory = tempfile::tempdir().unwrap();
        let (cert, acceptor) = certificate(directory.path());
        let server = Server::start_with(Rules::serve("r.git", repo.bare()), Some(acceptor)).await;
        let spec = SourceSpec::new(format!("https://localhost:{}/r.git", server.port));
        let proxy = Proxy::start(server.port, Some("Ym9iOmh1bnRlcjI=")).await;
        let through = |login: &str| GitConfig {
            proxies: Proxies::none().https(&format!("http://{login}127.0.0.1:{}", proxy.port)),
            ca_files: vec![cert.clone()],
            ..open()
        };
        let (found, log) = fetch(through("bob:hunter2@"), &spec).await.unwrap();
        assert!(found.contains_key("Dockerfile") && !log.contains("hunter2"), "{log}");
        let asked = format!("CONNECT localhost:{} Basic Ym9iOmh1bnRlcjI=", server.port);
        assert!(proxy.seen().iter().all(|seen| *seen == asked), "{:?}", proxy.seen());
        // What is inside the tunnel is for the server only.
        assert!(!server.requests().is_empty());
        is(&refusal(through(""), &spec).await, ErrorKind::Denied, "the proxy wants credentials");
        let e = refusal(through("bob:wr0ng@"), &spec).await;
        is(&e, ErrorKind::Denied, "the proxy refuses our credentials");
        assert!(!format!("{e} {e:?}").contains("wr0ng"), "{e:?}");
    });
}

#[test]
fn http_is_forwarded_and_exceptions_are_not() {
    run("http_is_forwarded_and_exceptions_are_not", async {
        let repo = Repo::small();
        let server = Server::start(Rules::serve("r.git", repo.bare())).await;
        let proxy = Proxy::start(server.port, Some("Ym9iOnB3")).await;
        let proxies = Proxies::none().http(&format!("bob:pw@localhost:{}", proxy.port));
        let config = GitConfig { proxies, ..open() };
        // The proxy alone knows the name.
        let spec = SourceSpec::new("http://git.example.org/r.git");
        fetch(config.clone(), &spec).await.unwrap();
        let asked =
            "GET http://git.example.org/r.git/info/refs?service=git-upload-pack Basic Ym9iOnB3";
        assert!(proxy.seen().iter().any(|seen| seen == asked), "{:?}", proxy.seen());
        let before = proxy.seen().len();
        let config = GitConfig { proxies: config.proxies.except("x.org, 127.0.0.0/8"), ..config };
        fetch(config, &SourceSpec::new(server.url("r.git"))).await.unwrap();
        assert_eq!(proxy.seen().len(), before);
    });
}

#[test]
fn a_proxy_that_is_of_no_use_is_told() {
    run("a_proxy_that_is_of_no_use_is_told", async {
        let spec = SourceSpec::new("https://git.example.org/r.git");
        let with = |proxy: &str| GitConfig { proxies: Proxies::none().https(proxy), ..open() };
        let e = refusal(with("http://u:hunter2@127.0.0.1:1"), &spec).await;
        is(&e, ErrorKind::Unavailable, "proxy: 127.0.0.1:1");
        assert!(!format!("{e} {e:?}").contains("hunter2"), "{e:?}");
        let e = refusal(with("socks5://127.0.0.1:1"), &spec).await;
        is(&e, ErrorKind::Unsupported, "`socks5`");
        let e = refusal(with("http://u:hunter2@:x"), &spec).await;
        is(&e, ErrorKind::Invalid, "address of the proxy");
        assert!(!format!("{e} {e:?}").contains("hunter2"), "{e:?}");
        let dead = Proxy::start(1, None).await;
        let e = refusal(with(&format!("127.0.0.1:{}", dead.port)), &spec).await;
        is(&e, ErrorKind::Unavailable, "the proxy cannot reach the server");
        // One that takes the connection and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = GitConfig {
            connect_timeout: std::time::Duration::from_millis(200),
            ..with(&format!("127.0.0.1:{}", silent.local_addr().unwrap().port()))
        };
        is(&refusal(config, &spec).await, ErrorKind::Unavailable, "the proxy gives no answer");
    });
}

/// The proxy may be on a private network; what it is asked for may not be so by its name.
#[test]
fn a_server_behind_a_proxy_is_judged_by_its_name() {
    run("a_server_behind_a_proxy_is_judged_by_its_name", async {
        let proxy = Proxy::start(1, None).await;
        let address = format!("127.0.0.1:{}", proxy.port);
        let proxies = Proxies::none().https(&address).http(&address);
        let config = || GitConfig { proxies: proxies.clone(), ..GitConfig::default() };
        for host in
            ["10.0.0.1", "localhost", "[::1]", "db", "metadata.google.internal", "2130706433"]
        {
            for scheme in ["http", "https"] {
                let spec = SourceSpec::new(format!("{scheme}://{host}/r.git"));
                is(
                    &refusal(config(), &spec).await,
                    ErrorKind::Denied,
                    "not on the public internet",
                );
            }
        }
        assert!(proxy.seen().is_empty(), "{:?}", proxy.seen());
        let e = refusal(config(), &SourceSpec::new("https://git.example.org/r.git")).await;
        assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
        assert_eq!(proxy.seen(), ["CONNECT git.example.org:443"]);
    });
}
