//! The way to one server.

use crate::{ask::Ask, config::RemoteConfig, version};
use kiln::{BuildId, Error, ErrorKind, NodeId, Owner, Result, port::Lease};
use reqwest::{
    Client, Method, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use zeroize::Zeroizing;

const OP: &str = "RemoteClient::new";
/// How long it may take to be connected.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long a machine at the other end may be silent, on the level of TCP.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a lease is taken to last of which that is not known.
const USUAL_TTL: Duration = Duration::from_secs(30);

/// The way to a server. Clones share it, and the leases that were given on it.
#[derive(Clone)]
pub struct RemoteClient(Arc<Inner>);

struct Inner {
    http: Client,
    base: Url,
    node: Option<NodeId>,
    held: Mutex<BTreeMap<BuildId, Shown>>,
}

/// A lease as it is shown.
#[derive(Clone, Debug)]
struct Shown {
    token: u64,
    owner: Owner,
    node: NodeId,
    ttl: Duration,
}

impl Shown {
    fn text(&self) -> String {
        format!("{} {} {}", self.token, self.node, self.ttl.as_millis())
    }
}

impl fmt::Debug for RemoteClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteClient").field("server", &self.server()).finish_non_exhaustive()
    }
}

impl RemoteClient {
    /// Prepares the way. Nothing is sent before the first call.
    pub fn new(config: &RemoteConfig) -> Result<Self> {
        let invalid = |message: &'static str| Error::new(ErrorKind::Invalid, OP, message);
        let base = config.url()?;
        let version = HeaderValue::from_static(version::OURS);
        let mut headers =
            HeaderMap::from_iter([(HeaderName::from_static(version::HEADER), version)]);
        if let Some(token) = &config.token {
            let text = token.expose_str().map(str::trim).filter(|t| !t.is_empty());
            let text = text.ok_or_else(|| invalid("the token is empty or no text"))?;
            let header = Zeroizing::new(format!("Bearer {text}"));
            let mut header = HeaderValue::from_str(&header)
                .map_err(|_| invalid("the token holds what no header can"))?;
            header.set_sensitive(true);
            headers.insert(AUTHORIZATION, header);
        }
        let mut client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("kiln-agent/", env!("CARGO_PKG_VERSION")))
            // A token goes to the server it is for, and nowhere else.
            .redirect(Policy::none())
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT_TIME)
            .tcp_keepalive(SILENCE_MAX / 2)
            .tcp_keepalive_interval(SILENCE_MAX / 6)
            .pool_idle_timeout(SILENCE_MAX);
        if let Some(pem) = &config.ca {
            let certificates = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|e| invalid("the certificates cannot be read").source(e))?;
            client = client.tls_certs_merge(certificates);
        }
        let http = client
            .build()
            .map_err(|e| Error::new(ErrorKind::Unexpected, OP, "HTTP cannot be used").source(e))?;
        let (node, held) = (config.node.clone(), Mutex::default());
        Ok(Self(Arc::new(Inner { http, base, node, held })))
    }

    /// The address of the server, for people.
    pub fn server(&self) -> &str {
        self.0.base.as_str()
    }

    /// Begins a request; each part of the path is one segment, whatever is in it.
    pub(crate) fn ask(&self, op: &'static str, method: Method, path: &[&str]) -> Ask<'_> {
        let mut url = self.0.base.clone();
        // Of http and https it is never an error.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["agent", "v1"]).extend(path);
        }
        Ask::new(self, op, self.0.http.request(method, url))
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<BuildId, Shown>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a lease, to be shown with whatever is done for its build.
    pub(crate) fn hold(&self, lease: &Lease, node: Option<&NodeId>, ttl: Duration) {
        let Some(node) = node.or(self.0.node.as_ref()).cloned() else { return };
        let shown = Shown { token: lease.token, owner: lease.job.owner.clone(), node, ttl };
        self.held().insert(lease.job.build.clone(), shown);
    }

    /// Forgets a lease that counts no more, unless there is a newer one of that build.
    pub(crate) fn let_go(&self, lease: &Lease) {
        let mut held = self.held();
        if held.get(&lease.job.build).is_some_and(|s| s.token == lease.token) {
            held.remove(&lease.job.build);
        }
    }

    /// The lease of a build, as it is shown.
    pub(crate) fn shown(&self, build: &BuildId) -> Option<String> {
        self.held().get(build).map(Shown::text)
    }

    /// A lease, as it is shown where it is spoken of itself: it may be older than the one that is held.
    pub(crate) fn show(&self, lease: &Lease) -> Option<String> {
        let held = self.held().get(&lease.job.build).cloned();
        let (node, ttl) = match held {
            Some(shown) => (shown.node, shown.ttl),
            None => (self.0.node.clone()?, USUAL_TTL),
        };
        Some(Shown { token: lease.token, owner: lease.job.owner.clone(), node, ttl }.text())
    }

    /// The builds that are leased to this process.
    pub(crate) fn leased(&self) -> Vec<BuildId> {
        self.held().keys().cloned().collect()
    }

    /// The leases of an owner's builds, as they are shown.
    pub(crate) fn shown_of(&self, owner: &Owner) -> Vec<(BuildId, String)> {
        let held = self.held();
        let theirs = held.iter().filter(|(_, s)| s.owner == *owner);
        theirs.map(|(build, s)| (build.clone(), s.text())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::Secret;

    #[test]
    fn nothing_shows_the_token() {
        let token = Some(Secret::new("kiln_hunter2\n"));
        let config = RemoteConfig { token, ..RemoteConfig::new("http://h/base/") };
        let client = RemoteClient::new(&config).unwrap();
        let ask = client.ask("test", Method::GET, &["builds", "../x", "a b"]);
        for shown in [format!("{client:?}"), format!("{config:?}"), format!("{ask:?}")] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        assert!(format!("{ask:?}").contains("/base/agent/v1/builds/..%2Fx/a%20b"), "{ask:?}");
        let config = RemoteConfig { token: Some(Secret::new("a\nb")), ..config };
        assert_eq!(RemoteClient::new(&config).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
