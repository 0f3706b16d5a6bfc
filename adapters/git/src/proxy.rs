//! Proxies for https and http, told by the variables that curl and git read.

use crate::{auth::basic, url::decode};
use kiln::{Secret, secret::Credentials};
use std::net::IpAddr;
use url::Url;

/// Which servers are reached through which proxies. `Debug` shows no address, since an address may
/// hold a password.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    https: Option<Secret>,
    http: Option<Secret>,
    except: Vec<String>,
}

/// One proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// Whether the proxy itself is spoken to over TLS.
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// A user and a password as HTTP sends them.
    pub(crate) login: Option<Secret>,
}

/// Why a text is no proxy. It repeats nothing of the text but the scheme.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the address of the proxy is not valid")]
    Invalid,
    #[error("proxies of the kind `{0}` are not supported; use http or https")]
    Scheme(String),
}

impl Proxies {
    /// No proxy at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// The proxies that variables name, as curl reads them: `https_proxy`, `http_proxy`,
    /// `all_proxy` and `no_proxy`, or the same in capitals. `HTTP_PROXY` in capitals is passed over
    /// where `REQUEST_METHOD` is set: in a CGI program a stranger sets it.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| var(name).filter(|value| !value.is_empty());
        let any = |name: &str| given(name).or_else(|| given(&name.to_ascii_uppercase()));
        let all = any("all_proxy");
        let http = match given("REQUEST_METHOD") {
            Some(_) => given("http_proxy"),
            None => any("http_proxy"),
        };
        let https = any("https_proxy").or_else(|| all.clone()).map(Secret::new);
        let http = http.or(all).map(Secret::new);
        Self { https, http, except: Vec::new() }.except(&any("no_proxy").unwrap_or_default())
    }

    /// Reaches https servers through a proxy: `[http[s]://][user:password@]host[:port]`, with port
    /// 1080 or 443 unless given. Whether it is well formed is told when it is used.
    #[must_use]
    pub fn https(self, proxy: &str) -> Self {
        Self { https: Some(Secret::new(proxy)), ..self }
    }

    /// Reaches http servers through a proxy.
    #[must_use]
    pub fn http(self, proxy: &str) -> Self {
        Self { http: Some(Secret::new(proxy)), ..self }
    }

    /// Reaches these hosts directly: names, which stand for all names below them too, addresses,
    /// networks such as `10.0.0.0/8`, each with a port or without; or `*`.
    #[must_use]
    pub fn except(mut self, hosts: &str) -> Self {
        let words = hosts.split([',', ' ', '\t']).filter(|h| !h.is_empty());
        self.except.extend(words.map(str::to_ascii_lowercase));
        self
    }

    /// The proxy for a URL, if it is not reached directly.
    pub(crate) fn for_url(&self, url: &Url) -> Result<Option<Proxy>, ProxyError> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        let (Some(proxy), Some(host)) = (proxy, url.host_str()) else { return Ok(None) };
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let port = url.port_or_known_default().unwrap_or_default();
        if self.except.iter().any(|pattern| is_excepted(pattern, &host, port)) {
            return Ok(None);
        }
        Proxy::parse(proxy.expose_str().unwrap_or_default()).map(Some)
    }
}

impl Proxy {
    fn parse(text: &str) -> Result<Self, ProxyError> {
        let text = text.trim();
        let whole = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let url = Url::parse(&whole).map_err(|_| ProxyError::Invalid)?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(ProxyError::Scheme(other.chars().take(20).collect())),
        };
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or(ProxyError::Invalid)?.to_owned();
        // `Url` knows no port that is the scheme's own, which curl does not take for the usual one.
        let own = if tls { 443 } else { 80 };
        let explicit = whole.trim_end_matches('/').ends_with(&format!(":{own}"));
        let usual = if tls || explicit { own } else { 1080 };
        let part = |text: &str| decode(text).map_err(|_| ProxyError::Invalid);
        let (username, password) = (part(url.username())?, part(url.password().unwrap_or(""))?);
        let login = !(username.is_empty() && password.is_empty());
        let login =
            login.then(|| basic(&Credentials { username, password: Secret::new(password) }));
        Ok(Self { tls, host, port: url.port().unwrap_or(usual), login })
    }

    /// Where it is, to be shown.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn is_excepted(pattern: &str, host: &str, port: u16) -> bool {
    let (name, wanted) = match pattern.rsplit_once(':') {
        // More than one colon is an address of IPv6, which has a port only behind brackets.
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => {
            match digits.parse::<u16>() {
                Ok(wanted) => (name, Some(wanted)),
                Err(_) => return false,
            }
        }
        _ => (pattern, None),
    };
    if wanted.is_some_and(|wanted| wanted != port) {
        return false;
    }
    let name = name.trim_matches(['[', ']']);
    if name == "*" {
        return true;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return match name.split_once('/') {
            Some((network, bits)) => is_in(address, network, bits),
            None => name.parse() == Ok(address),
        };
    }
    let name = name.trim_start_matches("*.").trim_matches('.');
    let below = host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    !name.is_empty() && (host == name || below)
}

/// Whether an address belongs to a network.
fn is_in(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    let same = |a: u128, b: u128, width: u32| {
        bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0)
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_as_curl_does() {
        let check = |text: &str, tls, host: &str, port, login: Option<&str>| {
            let proxy = Proxy::parse(text).unwrap();
            let login = login.map(Secret::new);
            assert_eq!(proxy, Proxy { tls, host: host.into(), port, login }, "{text}");
        };
        check("proxy:3128", false, "proxy", 3128, None);
        check("http://proxy", false, "proxy", 1080, None);
        check("http://proxy:80/", false, "proxy", 80, None);
        check("https://proxy", true, "proxy", 443, None);
        check("http://u:p%40ss@[::1]:8080", false, "[::1]", 8080, Some("dTpwQHNz"));
        for bad in ["", "http://", "http://u:%zz@h", "http://h:x"] {
            assert_eq!(Proxy::parse(bad), Err(ProxyError::Invalid), "{bad}");
        }
        assert_eq!(Proxy::parse("socks5h://h:1"), Err(ProxyError::Scheme("socks5h".into())));
    }

    #[test]
    fn hosts_are_excepted_as_curl_does() {
        let cases = [
            ("*", "h", 443, true),
            ("example.org", "example.org", 443, true),
            (".example.org", "git.example.org", 443, true),
            ("*.example.org", "git.example.org", 443, true),
            ("example.org", "badexample.org", 443, false),
            ("git.example.org", "example.org", 443, false),
            ("h:8443", "h", 8443, true),
            ("h:8443", "h", 443, false),
            ("10.0.0.0/8", "10.1.2.3", 443, true),
            ("10.0.0.0/8", "11.1.2.3", 443, false),
            ("10.0.0.0/33", "10.1.2.3", 443, false),
            ("0.0.0.0/0", "8.8.8.8", 443, true),
            ("fd00::/8", "fd12::1", 443, true),
            ("::1", "::1", 443, true),
            ("[::1]:80", "::1", 80, true),
            ("[::1]:80", "::1", 81, false),
            ("1.2.3.4", "11.2.3.4", 443, false),
            (".", "h", 443, false),
        ];
        for (pattern, host, port, expected) in cases {
            assert_eq!(is_excepted(pattern, host, port), expected, "{pattern} {host}:{port}");
        }
    }

    #[test]
    fn variables_are_read_in_small_letters_first() {
        let read = |vars: &'static [(&str, &str)], url: &str| {
            let var = |name: &str| vars.iter().find(|v| v.0 == name).map(|v| v.1.to_owned());
            let url = Url::parse(url).unwrap();
            Proxies::from_vars(var).for_url(&url).unwrap().map(|p| p.host)
        };
        let both = &[("https_proxy", "a:1"), ("HTTPS_PROXY", "b:1"), ("NO_PROXY", "x.org, h")];
        assert_eq!(read(both, "https://git.org/r").as_deref(), Some("a"));
        assert_eq!(read(both, "https://git.x.org./r"), None);
        assert_eq!(read(both, "http://git.org/r"), None);
        let all = &[("ALL_PROXY", "a:1"), ("HTTP_PROXY", "b:1")];
        assert_eq!(read(all, "https://h/r").as_deref(), Some("a"));
        assert_eq!(read(all, "http://h/r").as_deref(), Some("b"));
        let cgi = &[("HTTP_PROXY", "evil:1"), ("REQUEST_METHOD", "GET")];
        assert_eq!(read(cgi, "http://h/r"), None);
        assert_eq!(read(&[("https_proxy", "")], "https://h/r"), None);
        let secret = Proxies::none().https("http://u:hunter2@h").http("http://u:hunter2@h");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
