//! What a git address may look like, read without touching the world.

mod part;

pub(crate) use part::{check_reference, decode};

use kiln::RelPath;
use part::{check_user, encode, is_unprintable, looks_secret};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// How long an address may be, in bytes.
const LENGTH_MAX: usize = 4096;

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Over TLS.
    Https,
    /// In the clear.
    Http,
    /// Over SSH, also written as `user@host:path`.
    Ssh,
    /// A directory of this host.
    Path,
}

/// A checked address of a repository, with the reference and the directory that were asked for.
///
/// It holds no password, no control character and nothing that could be read as an option.
/// `Display` writes it so that [`parse`] reads the same again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GitUrl {
    scheme: Scheme,
    user: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
    reference: Option<String>,
    subdir: RelPath,
}

/// Why a text is no address of a repository. The text itself is never repeated, since it may hold
/// a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Nothing there.
    #[error("the address is empty")]
    Empty,
    /// Longer than any real one.
    #[error("the address is longer than {LENGTH_MAX} bytes")]
    TooLong,
    /// A character that could forge a line or a header.
    #[error("the address has a control character")]
    Control,
    /// A part that a program could take for an option.
    #[error("the {0} begins with `-`, where it could be taken for an option")]
    Option(&'static str),
    /// `ext::` and its like, which run programs.
    #[error("addresses of the form `helper::…` run programs and are refused")]
    Helper,
    /// Not one of the supported ways to reach a repository.
    #[error("`{0}` is not supported; use https, http, ssh, file or a path")]
    Scheme(String),
    /// A password, which would end up in logs and journals.
    #[error("the address holds a password or a token; give it as credentials instead")]
    Password,
    /// A part that is not well formed.
    #[error("the {0} is not valid")]
    Part(&'static str),
    /// A directory that leads out of the repository.
    #[error("the directory after `#` is not a path inside the repository")]
    Subdir,
    /// Something that is no address at all.
    #[error("this is neither a URL nor `user@host:path` nor a path")]
    Unknown,
}

type Result<T, E = UrlError> = std::result::Result<T, E>;

/// Reads an address.
///
/// `https://…`, `http://…`, `ssh://…`, `user@host:path`, `file:///…`, a path that begins with `/`,
/// `./` or `../`, and `github.com/owner/name`. Each may end in `#reference`, `#:directory` or
/// `#reference:directory`, as `docker build` reads them.
pub fn parse(text: &str) -> Result<GitUrl> {
    if text.is_empty() {
        return Err(UrlError::Empty);
    }
    if text.len() > LENGTH_MAX {
        return Err(UrlError::TooLong);
    }
    if text.chars().any(is_unprintable) {
        return Err(UrlError::Control);
    }
    if text.starts_with('-') {
        return Err(UrlError::Option("address"));
    }
    let (place, fragment) = text.split_once('#').map_or((text, ""), |(p, f)| (p, f));
    let mut url = parse_place(place)?;
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    if !reference.is_empty() {
        url.reference = Some(check_reference(reference)?.to_owned());
    }
    url.subdir = RelPath::new(subdir.trim_start_matches('/')).map_err(|_| UrlError::Subdir)?;
    // Percent signs make it longer, and what is shown has to be readable again.
    if text.len() > LENGTH_MAX / 3 && url.to_string().len() > LENGTH_MAX {
        return Err(UrlError::TooLong);
    }
    Ok(url)
}

/// Whether a text given as a build context means a repository, as `docker build` decides: by its
/// form alone. A path never does, nor a URL of an archive.
pub fn is_git_url(text: &str) -> bool {
    let lower = text.get(..12).unwrap_or(text).to_ascii_lowercase();
    let starts = |prefix: &str| lower.starts_with(prefix);
    if starts("http://") || starts("https://") {
        let (place, fragment) = text.split_once('#').map_or((text, None), |(p, f)| (p, Some(f)));
        return place.trim_end_matches('/').ends_with(".git") || fragment.is_some();
    }
    let schemes = ["git://", "ssh://", "git+ssh://", "file://", "github.com/"];
    schemes.into_iter().any(starts) || scp_parts(text).is_some()
}

fn parse_place(text: &str) -> Result<GitUrl> {
    if let Some((scheme, rest)) = text.split_once("://")
        && is_scheme(scheme)
    {
        return match scheme.to_ascii_lowercase().as_str() {
            "https" => parse_http(Scheme::Https, text),
            "http" => parse_http(Scheme::Http, text),
            "ssh" | "git+ssh" | "ssh+git" => parse_ssh(rest),
            "file" => parse_file(rest),
            other => Err(UrlError::Scheme(other.chars().take(20).collect())),
        };
    }
    if text.starts_with(['/', '.', '~']) {
        return if text.starts_with('~') { Err(UrlError::Unknown) } else { local(text) };
    }
    if text.split_once("::").is_some_and(|(helper, _)| is_scheme(helper)) {
        return Err(UrlError::Helper);
    }
    if text.get(..11).is_some_and(|t| t.eq_ignore_ascii_case("github.com/")) {
        return parse_http(Scheme::Https, &format!("https://{text}"));
    }
    let (user, host, path) = scp_parts(text).ok_or(UrlError::Unknown)?;
    remote(Scheme::Ssh, Some(user), host, None, path.to_owned())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c))
}

/// `user@host:path` and `user@[host]:path`. The user is not optional: `name:path` alone belongs to
/// whatever scheme that name is.
fn scp_parts(text: &str) -> Option<(&str, &str, &str)> {
    let (user, rest) = text.split_once('@').filter(|(user, _)| !user.contains(['/', ':']))?;
    let (host, path) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once("]:")?,
        None => rest.split_once(':')?,
    };
    let ok = !host.is_empty() && !host.contains('/') && !path.is_empty() && !path.starts_with("//");
    ok.then_some((user, host, path))
}

fn parse_http(scheme: Scheme, text: &str) -> Result<GitUrl> {
    let url = url::Url::parse(text).map_err(|_| UrlError::Part("URL"))?;
    if url.password().is_some() || looks_secret(url.username()) {
        return Err(UrlError::Password);
    }
    if url.query().is_some() {
        return Err(UrlError::Part("query (write `#reference:directory`)"));
    }
    let user = Some(url.username()).filter(|u| !u.is_empty());
    let host = url.host_str().ok_or(UrlError::Part("host"))?;
    remote(scheme, user, host, url.port(), url.path().trim_end_matches('/').to_owned())
}

fn parse_ssh(rest: &str) -> Result<GitUrl> {
    let (authority, path) = rest.split_once('/').ok_or(UrlError::Part("path"))?;
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    if user.is_some_and(|u| u.contains(':')) {
        return Err(UrlError::Password);
    }
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, Some(port.parse().map_err(|_| UrlError::Part("port"))?))
        }
        _ => (place, None),
    };
    let path = decode(path)?;
    let path = if path.starts_with('~') { path } else { format!("/{path}") };
    remote(Scheme::Ssh, user, host, port, path)
}

fn parse_file(rest: &str) -> Result<GitUrl> {
    let path = rest.strip_prefix("localhost/").map_or_else(|| rest.to_owned(), |p| format!("/{p}"));
    if !path.starts_with('/') {
        return Err(UrlError::Part("host of the file URL"));
    }
    local(&decode(&path)?)
}

fn local(path: &str) -> Result<GitUrl> {
    let (path, host) = (path.to_owned(), String::new());
    let (reference, subdir) = (None, RelPath::root());
    Ok(GitUrl { scheme: Scheme::Path, user: None, host, port: None, path, reference, subdir })
}

fn remote(
    scheme: Scheme,
    user: Option<&str>,
    host: &str,
    port: Option<u16>,
    path: String,
) -> Result<GitUrl> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if bare.starts_with('-') {
        return Err(UrlError::Option("host"));
    }
    let bracketed = if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() };
    let host = url::Host::parse(&bracketed).map_err(|_| UrlError::Part("host"))?.to_string();
    if port == Some(0) {
        return Err(UrlError::Part("port"));
    }
    let user = user.map(check_user).transpose()?;
    // As git has it, `host:/~/a` is `ssh://host/~/a`: a path from the home directory.
    let home = scheme == Scheme::Ssh && path.starts_with("/~");
    let path = if home { path[1..].to_owned() } else { path };
    if path.starts_with('-') {
        return Err(UrlError::Option("path"));
    }
    if path.is_empty() || path == "/" {
        return Err(UrlError::Part("path"));
    }
    let (reference, subdir) = (None, RelPath::root());
    Ok(GitUrl { scheme, user, host, port, path, reference, subdir })
}

impl GitUrl {
    /// How the repository is reached.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The user in front of the `@`.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The host, IPv6 addresses in brackets; empty for a path.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also where it is the usual one; 0 for a path.
    pub fn port(&self) -> u16 {
        let usual = match self.scheme {
            Scheme::Https => 443,
            Scheme::Http => 80,
            Scheme::Ssh => 22,
            Scheme::Path => 0,
        };
        self.port.unwrap_or(usual)
    }

    /// The path on the host.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path as one of this host, if it is one.
    pub fn local_path(&self) -> Option<PathBuf> {
        (self.scheme == Scheme::Path).then(|| Path::new(&self.path).to_path_buf())
    }

    /// The branch, tag or commit after `#`.
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// The directory after `#…:`; the root without it.
    pub fn subdir(&self) -> &RelPath {
        &self.subdir
    }

    /// The address without what follows `#`.
    #[must_use]
    pub fn repository(&self) -> Self {
        Self { reference: None, subdir: RelPath::root(), ..self.clone() }
    }

    /// The address as it may be shown: without the user, which may be a token.
    pub(crate) fn shown(&self) -> String {
        Self { user: None, ..self.clone() }.to_string()
    }

    /// Whether credentials for one may be shown to the other.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        let origin = |u: &Self| (u.scheme, u.host.clone(), u.port());
        origin(self) == origin(other)
    }

    /// The address of a submodule, which may be relative to this repository.
    pub(crate) fn join(&self, text: &str) -> Result<Self> {
        if !text.starts_with("./") && !text.starts_with("../") {
            return Ok(parse(text)?.repository());
        }
        if text.chars().any(is_unprintable) {
            return Err(UrlError::Control);
        }
        let mut parts: Vec<&str> = self.path.trim_end_matches('/').split('/').collect();
        let fixed = usize::from(self.path.starts_with('/'));
        for part in text.trim_end_matches('/').split('/') {
            match part {
                "" | "." => {}
                ".." if parts.len() <= fixed => return Err(UrlError::Part("relative address")),
                ".." => drop(parts.pop()),
                _ => parts.push(part),
            }
        }
        let path = parts.join("/");
        match self.scheme {
            Scheme::Path => local(&path),
            scheme => remote(scheme, self.user(), &self.host, self.port, path),
        }
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A path from the home directory has no other form than `user@host:path`.
        let scp = self.scheme == Scheme::Ssh && !self.path.starts_with(['/', '~']);
        let scheme = match self.scheme {
            Scheme::Https => "https://",
            Scheme::Http => "http://",
            Scheme::Ssh if !scp => "ssh://",
            Scheme::Ssh | Scheme::Path => "",
        };
        f.write_str(scheme)?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.scheme {
            Scheme::Ssh if scp => write!(f, ":{}", self.path)?,
            Scheme::Ssh if self.path.starts_with('/') => f.write_str(&encode(&self.path))?,
            Scheme::Ssh => write!(f, "/{}", encode(&self.path))?,
            Scheme::Path if self.path.contains('#') => write!(f, "file://{}", encode(&self.path))?,
            _ => f.write_str(&self.path)?,
        }
        match (&self.reference, self.subdir.is_root()) {
            (None, true) => Ok(()),
            (reference, true) => write!(f, "#{}", reference.as_deref().unwrap_or_default()),
            (reference, false) => {
                write!(f, "#{}:{}", reference.as_deref().unwrap_or_default(), self.subdir)
            }
        }
    }
}
