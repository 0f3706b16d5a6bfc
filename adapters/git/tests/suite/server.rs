use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, header, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::Write,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

/// What a server does besides serving repositories by git's smart protocol.
#[derive(Default)]
pub(crate) struct Rules {
    /// The repositories by their names.
    pub(crate) repositories: BTreeMap<String, PathBuf>,
    /// `user:password`, without which nothing is served.
    pub(crate) login: Option<String>,
    /// Where a request for the references of a repository is sent instead.
    pub(crate) redirects: BTreeMap<String, String>,
    /// An answer to everything.
    pub(crate) status: Option<u16>,
    /// What such an answer says.
    pub(crate) body: Option<String>,
    /// Whether a byte of every pack is wrong.
    pub(crate) corrupt: bool,
    /// Settings for git, such as `uploadpack.hideRefs=x`.
    pub(crate) settings: Vec<String>,
}

impl Rules {
    pub(crate) fn serve(name: &str, repository: impl Into<PathBuf>) -> Self {
        Self { repositories: [(name.into(), repository.into())].into(), ..Self::default() }
    }
}

/// A server of repositories on a port of this host.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// `METHOD path [user:password]` of every request.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(rules: Rules) -> Self {
        Self::start_with(rules, None).await
    }

    pub(crate) async fn start_with(rules: Rules, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (rules, requests) = (Arc::new(rules), Arc::default());
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (rules, seen, tls) = (rules.clone(), Arc::clone(&seen), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => one(stream, rules, seen).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                one(stream, rules, seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, requests, task }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

type Seen = Arc<Mutex<Vec<String>>>;

async fn one(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    rules: Arc<Rules>,
    seen: Seen,
) {
    let service = service_fn(move |request| {
        let (rules, seen) = (rules.clone(), seen.clone());
        async move { Ok::<_, Infallible>(answer(request, &rules, &seen).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new();
    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, rules: &Rules, seen: &Seen) -> Response<Full<Bytes>> {
    let path = request.uri().path_and_query().unwrap().as_str().to_owned();
    let login = request.headers().get(header::AUTHORIZATION).and_then(|v| {
        let encoded = v.to_str().ok()?.strip_prefix("Basic ")?.to_owned();
        String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
    });
    let note = login.as_ref().map_or_else(String::new, |l| format!(" {l}"));
    seen.lock().unwrap().push(format!("{} {path}{note}", request.method()));
    let plain = |status: u16, (name, value): (header::HeaderName, &str)| {
        let response = Response::builder().status(status).header(name, value);
        let body = rules.body.clone().unwrap_or("sorry".into());
        response.body(Full::new(body.into())).unwrap()
    };
    let text = (header::CONTENT_TYPE, "text/plain");
    if let Some(status) = rules.status {
        return plain(status, text);
    }
    if rules.login.is_some() && rules.login != login {
        return plain(401, (header::WWW_AUTHENTICATE, "Basic realm=\"git\""));
    }
    let (name, action) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    if let Some(to) = rules.redirects.get(name) {
        return plain(302, (header::LOCATION, to));
    }
    let Some(repository) = rules.repositories.get(name) else { return plain(404, text) };
    let (what, kind) = match action {
        "info/refs?service=git-upload-pack" => (Some("--advertise-refs"), "advertisement"),
        "git-upload-pack" => (None, "result"),
        _ => return plain(404, text),
    };
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let (repository, settings) = (repository.clone(), rules.settings.clone());
    let output =
        tokio::task::spawn_blocking(move || upload_pack(&repository, &settings, what, &body));
    let mut bytes = output.await.unwrap();
    if let Some(at) = bytes.windows(4).position(|w| w == b"PACK").filter(|_| rules.corrupt) {
        // Within the first object.
        bytes[at + 20] ^= 0xff;
    }
    if what.is_some() {
        bytes.splice(0..0, *b"001e# service=git-upload-pack\n0000");
    }
    Response::builder()
        .header(header::CONTENT_TYPE, format!("application/x-git-upload-pack-{kind}"))
        .body(Full::new(bytes.into()))
        .unwrap()
}

fn upload_pack(
    repository: &std::path::Path,
    settings: &[String],
    what: Option<&str>,
    body: &[u8],
) -> Vec<u8> {
    let mut git = super::repo::git(repository);
    for setting in settings {
        git.args(["-c", setting]);
    }
    let mut child = git
        .args(["upload-pack", "--stateless-rpc"])
        .args(what)
        .arg(repository)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let body = body.to_owned();
    let writer = std::thread::spawn(move || input.write_all(&body));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    output.stdout
}
