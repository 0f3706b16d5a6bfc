//! The gate for https and http: a small server for libgit2, a client of the real one.

use super::{
    Shared,
    advert::Advertisement,
    dial::{AGENT, Connection, basic_header, dial, refuse_clear},
    pace::Pace,
    status,
};
use crate::{
    auth::{Auth, basic},
    error,
    url::{GitUrl, Scheme},
};
use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, Either, Full, Limited, StreamBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{self, HeaderValue},
    server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kiln::{Error, ErrorKind, Result, secret::Credentials};
use std::{convert::Infallible, pin::Pin, sync::Arc, time::Instant};
use tokio::{net::TcpListener, sync::Mutex, task::JoinSet, time::timeout};
use url::Url;

const REFS: &str = "/info/refs?service=git-upload-pack";
const PACK: &str = "/git-upload-pack";
/// How many times a server may send us elsewhere.
const REDIRECTS_MAX: usize = 5;
/// How large a request of libgit2 may be: 50 bytes for each commit it has or wants.
const REQUEST_MAX: usize = 64 << 20;

type Body = Either<
    Full<Bytes>,
    StreamBody<Pin<Box<dyn stream::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send>>>,
>;

/// The real server.
pub(super) struct Upstream {
    shared: Arc<Shared>,
    /// Where the credentials belong.
    origin: Url,
    user: Option<String>,
    auth: Auth,
    state: Mutex<State>,
}

struct State {
    /// The repository, where redirects have led.
    base: Url,
    /// Credentials that the server asked for.
    shown: Option<Credentials>,
    /// A connection that may be used again.
    idle: Option<Connection>,
}

/// Serves libgit2 until the task is aborted; then every connection is cut.
pub(super) async fn serve(listener: TcpListener, upstream: Arc<Upstream>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let upstream = upstream.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let upstream = upstream.clone();
                async move { Ok::<_, Infallible>(upstream.answer(request).await) }
            });
            let served = server::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(e) = served.await {
                tracing::debug!(error = %e, "libgit2 closed its connection");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Upstream {
    pub(super) fn new(shared: Arc<Shared>, url: &GitUrl, auth: Auth) -> Result<Self> {
        let scheme = if url.scheme() == Scheme::Https { "https" } else { "http" };
        let text = format!("{scheme}://{}:{}{}", url.host(), url.port(), url.path());
        let base = Url::parse(&text)
            .map_err(|_| error::url(shared.op, &crate::url::UrlError::Part("URL")))?;
        let state = Mutex::new(State { base: base.clone(), shown: None, idle: None });
        let user = url.user().map(ToOwned::to_owned);
        Ok(Self { shared, origin: base, user, auth, state })
    }

    /// Answers a request of libgit2.
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path_and_query().map_or("", |p| p.as_str()).to_owned();
        let asked = path.strip_prefix('/').and_then(|p| p.strip_prefix(&self.shared.token));
        let got = match (request.method(), asked) {
            (&Method::GET, Some(REFS)) => self.references().await,
            (&Method::POST, Some(PACK)) => self.pack(request).await,
            _ => return plain(StatusCode::NOT_FOUND),
        };
        match got {
            Ok(response) => self.pass(response, asked == Some(REFS)),
            Err(e) => {
                self.shared.fail(e);
                plain(StatusCode::BAD_GATEWAY)
            }
        }
    }

    /// Asks for the references, follows redirects, and shows credentials once if asked for.
    async fn references(&self) -> Result<Response<Incoming>> {
        let mut state = self.state.lock().await;
        for _ in 0..=REDIRECTS_MAX {
            let url = format!("{}{REFS}", state.base.as_str().trim_end_matches('/'));
            let response = self.send(&mut state, Method::GET, &url, Bytes::new()).await?;
            let code = response.status();
            if code.is_redirection() {
                state.base = self.redirect(&state.base, response.headers())?;
                state.idle = None;
                continue;
            }
            if code == StatusCode::UNAUTHORIZED && state.shown.is_none() {
                state.idle = None;
                state.shown = self.credentials(&state.base).await?;
                if state.shown.is_some() {
                    continue;
                }
            }
            return self.check(response, state.shown.is_some(), "advertisement").await;
        }
        Err(self.shared.error(ErrorKind::Unavailable, "the server redirects without end"))
    }

    /// Asks for objects.
    async fn pack(&self, request: Request<Incoming>) -> Result<Response<Incoming>> {
        let body = Limited::new(request.into_body(), REQUEST_MAX).collect().await.map_err(|e| {
            self.shared.error(ErrorKind::Unexpected, format!("libgit2 broke its request off: {e}"))
        })?;
        let mut state = self.state.lock().await;
        let url = format!("{}{PACK}", state.base.as_str().trim_end_matches('/'));
        let response = self.send(&mut state, Method::POST, &url, body.to_bytes()).await?;
        self.check(response, state.shown.is_some(), "result").await
    }

    async fn check(
        &self,
        response: Response<Incoming>,
        known: bool,
        what: &str,
    ) -> Result<Response<Incoming>> {
        if response.status() != StatusCode::OK {
            if response.status() == StatusCode::NOT_FOUND && self.origin.path().ends_with(".bundle")
            {
                return Err(error::bundle(self.shared.op));
            }
            return Err(status::error(self.shared.op, response.status(), known)
                .with("host", self.origin.host_str().unwrap_or_default()));
        }
        let wanted = format!("application/x-git-upload-pack-{what}");
        let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        if kind == Some(wanted.as_bytes()) {
            return Ok(response);
        }
        let start = timeout(self.shared.config.server_timeout, response.into_body().frame()).await;
        let start = start.ok().flatten().and_then(Result::ok).and_then(|f| f.into_data().ok());
        if start.is_some_and(|start| is_plain_list(&start)) {
            let message = "the server serves the repository as plain files, by a protocol that is \
                           not supported";
            return Err(self
                .shared
                .error(ErrorKind::Unsupported, message)
                .with("host", self.origin.host_str().unwrap_or_default())
                .hint("Whoever runs the server can serve it with `git http-backend`."));
        }
        let message = "there is a web server, but no git repository that it serves by git's \
                       smart protocol";
        Err(self
            .shared
            .error(ErrorKind::NotFound, message)
            .with("host", self.origin.host_str().unwrap_or_default())
            .hint("Check the address: it is the one that `git clone` takes."))
    }

    /// Where a redirect leads: only over TLS if the way was over TLS until here.
    fn redirect(&self, base: &Url, headers: &HeaderMap) -> Result<Url> {
        let wrong = |why: &str| {
            self.shared.error(ErrorKind::Unavailable, format!("the server redirects {why}"))
        };
        let location = headers.get(header::LOCATION).and_then(|l| l.to_str().ok());
        let from = Url::parse(&format!("{}{REFS}", base.as_str().trim_end_matches('/')));
        let (Some(location), Ok(from)) = (location, from) else {
            return Err(wrong("to nowhere"));
        };
        let to = from.join(location).map_err(|_| wrong("to no URL"))?;
        let secure = to.scheme() == "https" || (to.scheme() == "http" && base.scheme() == "http");
        if !secure {
            return Err(wrong("from https to something less safe"));
        }
        let next = to.as_str().strip_suffix(REFS).ok_or_else(|| {
            wrong("to something that is no repository, such as a page to log in")
                .hint("Check the address, or give the source credentials.")
        })?;
        let next = Url::parse(next).map_err(|_| wrong("to no URL"))?;
        if next.username().is_empty() && next.password().is_none() {
            return Ok(next);
        }
        Err(wrong("to a URL with a user or a password"))
    }

    /// Credentials for a server that asks, if it is the one they are for.
    async fn credentials(&self, asking: &Url) -> Result<Option<Credentials>> {
        let upgraded = self.origin.scheme() == "http"
            && asking.scheme() == "https"
            && self.origin.port().is_none()
            && asking.port().is_none()
            && self.origin.host() == asking.host();
        if self.origin.origin() != asking.origin() && !upgraded {
            return Ok(None);
        }
        let user = self.user.as_deref();
        self.auth.password(self.shared.op, &self.shared.config, asking, user).await
    }

    async fn send(
        &self,
        state: &mut State,
        method: Method,
        url: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let url = Url::parse(url)
            .map_err(|_| self.shared.error(ErrorKind::Unexpected, "the URL fell apart"))?;
        let reusable = |c: &Connection| c.origin == url.origin() && c.sender.is_ready();
        let idle = state.idle.take().filter(reusable);
        let fresh = idle.is_none();
        let mut connection = match idle {
            Some(connection) => connection,
            None => dial(&self.shared, &url).await?,
        };
        let request = self.request(state, &connection, method.clone(), &url, body.clone())?;
        let mut sent = self.wait(connection.sender.send_request(request)).await?;
        if sent.as_ref().is_err_and(|e| !fresh && (e.is_canceled() || e.is_closed())) {
            // A connection that was kept may be gone by the time it is used again.
            connection = dial(&self.shared, &url).await?;
            let request = self.request(state, &connection, method, &url, body)?;
            sent = self.wait(connection.sender.send_request(request)).await?;
        }
        let response = sent.map_err(|e| {
            self.shared
                .error(ErrorKind::Unavailable, format!("the server broke the connection: {e}"))
        })?;
        state.idle = Some(connection);
        Ok(response)
    }

    async fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        timeout(self.shared.config.server_timeout, future).await.map_err(|_| self.shared.silent())
    }

    fn request(
        &self,
        state: &State,
        connection: &Connection,
        method: Method,
        url: &Url,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>> {
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = Request::builder()
            .uri(connection.target(url))
            .header(header::HOST, host)
            .header(header::USER_AGENT, AGENT)
            .header(header::ACCEPT, "*/*");
        if let Some(login) = connection.proxy_login() {
            request = request.header(header::PROXY_AUTHORIZATION, login);
        }
        if method == Method::POST {
            request = request
                .header(header::CONTENT_TYPE, "application/x-git-upload-pack-request")
                .header(header::ACCEPT, "application/x-git-upload-pack-result");
        }
        if let Some(credentials) = &state.shown {
            if url.scheme() == "http" && connection.public {
                return Err(refuse_clear(&self.shared));
            }
            if let Some(value) = basic_header(&basic(credentials)) {
                request = request.header(header::AUTHORIZATION, value);
            }
        }
        request.method(method).body(Full::new(body)).map_err(|e| {
            self.shared.error(ErrorKind::Invalid, format!("the URL makes no request: {e}"))
        })
    }

    /// Passes an answer on, counted and watched for silence.
    fn pass(&self, response: Response<Incoming>, lists: bool) -> Response<Body> {
        let kind = response.headers().get(header::CONTENT_TYPE).cloned();
        let pace = Pace::new(self.shared.config.server_timeout);
        let list = lists.then(Advertisement::default);
        let state = (response.into_body(), self.shared.clone(), pace, list);
        let frames =
            stream::try_unfold(state, |(mut body, shared, mut pace, mut list)| async move {
                let asked = Instant::now();
                let next = timeout(pace.left(), body.frame()).await;
                pace.wait(asked.elapsed());
                let frame = match next {
                    Ok(None) => return Ok(None),
                    Ok(Some(Ok(frame))) => frame,
                    Ok(Some(Err(e))) => {
                        let e = format!("the server broke off: {e}");
                        return Err(give_up(&shared, shared.error(ErrorKind::Unavailable, e)));
                    }
                    Err(_) => return Err(give_up(&shared, shared.too_slow(&pace))),
                };
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                pace.hear(bytes);
                let says =
                    |list: &mut Advertisement| frame.data_ref().is_some_and(|d| list.is_strange(d));
                if list.as_mut().is_some_and(says) {
                    return Err(give_up(&shared, shared.strange()));
                }
                if !shared.budget.take(bytes) {
                    return Err(give_up(&shared, shared.too_much()));
                }
                Ok(Some((frame, (body, shared, pace, list))))
            });
        let mut out = Response::new(Either::Right(StreamBody::new(Box::pin(frames) as _)));
        if let Some(kind) = kind {
            out.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        out
    }
}

/// Whether a body begins as the list of references that a server of plain files has.
fn is_plain_list(start: &[u8]) -> bool {
    let id = start.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    matches!(id, 40 | 64) && start.get(id) == Some(&b'\t')
}

fn give_up(shared: &Shared, e: Error) -> std::io::Error {
    let message = e.to_string();
    shared.fail(e);
    std::io::Error::other(message)
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(Bytes::new())));
    *response.status_mut() = status;
    response
}
