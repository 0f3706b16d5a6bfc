//! Where the bucket is and how to reach it. Nothing here reads the environment by itself.

use kiln::{Error, ErrorKind, Result};
use std::{path::PathBuf, str::FromStr, time::Duration};
use url::{Host, Url};

const OP: &str = "S3Config::parse";
/// The smallest part that S3 takes, but for the last one.
const PART_BYTES_MIN: usize = 5 << 20;
/// No larger part can be sent in one request.
const PART_BYTES_MAX: usize = 1 << 30;
/// S3 keys have at most 1,024 bytes; ours need 150 behind the prefix.
const PREFIX_MAX: usize = 512;

/// A bucket and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Config {
    /// Its name.
    pub bucket: String,
    /// What every key begins with, without a slash at either end; empty for none.
    pub prefix: String,
    /// The server, such as `https://s3.example.com:9000`; Amazon's without it.
    pub endpoint: Option<Url>,
    /// The server as those see it who follow a link; the same without it.
    pub links: Option<Url>,
    /// The region, which is part of every signature.
    pub region: String,
    /// Where the bucket's name stands in an address.
    pub style: Style,
    /// A file of certificates in PEM that are trusted beside the system's own.
    pub ca: Option<PathBuf>,
    /// A proxy for all requests. The environment's is not used.
    pub proxy: Option<Url>,
    /// How many bytes of an upload are one part, 5 MiB to 1 GiB. An upload keeps up to four in
    /// memory. After every thousandth part they are twice as long, since there may be 10,000.
    pub part_bytes: usize,
    /// How long the server may be silent.
    pub patience: Duration,
}

/// Where a bucket's name stands in an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// In the path: `https://s3.example.com/bucket/key`.
    Path,
    /// Before the host: `https://bucket.s3.example.com/key`.
    Host,
}

impl S3Config {
    /// A bucket on Amazon's servers in `us-east-1`.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            endpoint: None,
            links: None,
            region: "us-east-1".into(),
            style: Style::Host,
            ca: None,
            proxy: None,
            part_bytes: 8 << 20,
            patience: Duration::from_secs(60),
        }
    }

    /// Reads an address: `s3://bucket/prefix?endpoint=…&region=…&style=path|host`, and besides
    /// `links`, `ca`, `proxy`, `part_mib` and `timeout` (seconds).
    ///
    /// The style is `path` where an endpoint is named, else `host`. Only an endpoint that begins
    /// with `http://` is spoken to in clear text. An address never holds credentials: `Invalid`,
    /// as is everything that is not understood. Errors leave the address out.
    pub fn parse(text: &str) -> Result<Self> {
        let url = Url::parse(text).map_err(|_| invalid("this is not an address"))?;
        if url.scheme() != "s3" {
            return Err(invalid("an address of a bucket begins with `s3://`"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("an address holds no credentials")
                .hint("Give the access key by variables or by a file."));
        }
        if url.port().is_some() || url.fragment().is_some() {
            return Err(invalid("the address of a bucket has neither a port nor a `#`")
                .hint("Name the server by `?endpoint=https://host:port`."));
        }
        let mut config = Self::new(url.host_str().unwrap_or_default());
        config.prefix = url.path().trim_matches('/').to_owned();
        let mut style = None;
        for (name, value) in url.query_pairs() {
            match &*name {
                "endpoint" => config.endpoint = Some(origin("endpoint", &value)?),
                "links" => config.links = Some(origin("links", &value)?),
                "proxy" => config.proxy = Some(origin("proxy", &value)?),
                "region" => config.region = value.into_owned(),
                "style" => style = Some(value.parse()?),
                "ca" => config.ca = Some(value.into_owned().into()),
                "part_mib" => config.part_bytes = number("part_mib", &value)? << 20,
                "timeout" => {
                    config.patience = Duration::from_secs(number("timeout", &value)? as u64);
                }
                _ => return Err(unknown(&name)),
            }
        }
        let named = if config.endpoint.is_some() { Style::Path } else { Style::Host };
        config.style = style.unwrap_or(named);
        config.check()?;
        Ok(config)
    }

    /// Refuses what no server would understand.
    pub(crate) fn check(&self) -> Result<()> {
        let plain = |text: &str, marks: &str| {
            text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
        };
        let edge = |c: char| c.is_ascii_alphanumeric();
        let bucket = &self.bucket;
        let known = (3..=63).contains(&bucket.len())
            && plain(bucket, ".-_")
            && bucket.starts_with(edge)
            && bucket.ends_with(edge)
            && !bucket.contains("..");
        if !known {
            return Err(invalid("a bucket's name has 3 to 63 letters, digits, dots and hyphens"));
        }
        let parts = || self.prefix.split('/');
        let lost = parts().any(|part| matches!(part, "" | "." | ".."));
        if !self.prefix.is_empty() && (lost || !plain(&self.prefix, "/._-")) {
            return Err(invalid("a prefix has letters, digits and the marks `.`, `_`, `-`, `/`"));
        }
        if self.prefix.len() > PREFIX_MAX {
            return Err(invalid("a prefix has at most 512 bytes"));
        }
        if self.region.is_empty() || self.region.len() > 64 || !plain(&self.region, "-_") {
            return Err(invalid("a region has letters, digits and hyphens, such as `eu-west-1`"));
        }
        if !(PART_BYTES_MIN..=PART_BYTES_MAX).contains(&self.part_bytes) {
            return Err(invalid("a part has 5 to 1,024 MiB"));
        }
        if self.patience.is_zero() || self.patience > Duration::from_secs(3600) {
            return Err(invalid("a timeout is 1 to 3,600 seconds"));
        }
        let bare = |url: &Url| matches!(url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)));
        let servers = [&self.endpoint, &self.links];
        if self.style == Style::Host && servers.into_iter().flatten().any(bare) {
            return Err(invalid("an address of digits has no names of buckets before it")
                .hint("Use `style=path`, or a name of the server."));
        }
        Ok(())
    }

    /// The address of the bucket on a server, without a slash at the end.
    pub(crate) fn bucket_at(&self, server: Option<&Url>) -> String {
        let amazon = || format!("https://s3.{}.amazonaws.com", self.region);
        let server = server.map_or_else(amazon, |url| url.as_str().trim_end_matches('/').into());
        match (self.style, server.split_once("://")) {
            (Style::Host, Some((scheme, rest))) => format!("{scheme}://{}.{rest}", self.bucket),
            _ => format!("{server}/{}", self.bucket),
        }
    }
}

impl FromStr for Style {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "path" => Ok(Self::Path),
            "host" => Ok(Self::Host),
            _ => Err(invalid("a style is `path` or `host`")),
        }
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, OP, message)
}

fn unknown(name: &str) -> Error {
    const NAMES: [&str; 8] =
        ["endpoint", "region", "style", "links", "ca", "proxy", "part_mib", "timeout"];
    // The name only, and not if it may be more than one: the value may be a secret.
    let shown: String = name.chars().filter(char::is_ascii_lowercase).take(20).collect();
    invalid(format!("an address of a bucket has no setting `{shown}`"))
        .hint(format!("There are {}.", NAMES.join(", ")))
}

fn number(name: &str, text: &str) -> Result<usize> {
    let number = text.parse().ok().filter(|number| (1..=1 << 20).contains(number));
    number.ok_or_else(|| invalid(format!("the setting `{name}` is a number above 0")))
}

/// A server: `http` or `https`, a host and perhaps a port, and nothing more.
fn origin(name: &str, text: &str) -> Result<Url> {
    let good = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
    };
    Url::parse(text).ok().filter(good).ok_or_else(|| {
        invalid(format!("the setting `{name}` is no address of a server"))
            .hint("Write `https://host:port` or, for clear text, `http://host:port`.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_all() {
        let config = S3Config::parse(
            "s3://builds/team/a?endpoint=http://localhost:9000&region=eu-1&style=host&part_mib=16",
        )
        .unwrap();
        assert_eq!((&*config.bucket, &*config.prefix), ("builds", "team/a"));
        assert_eq!(config.part_bytes, 16 << 20);
        let there = config.bucket_at(config.endpoint.as_ref());
        assert_eq!(there, "http://builds.localhost:9000");
        let config = S3Config::parse("s3://builds?endpoint=https://s3.example.com").unwrap();
        let there = config.bucket_at(config.endpoint.as_ref());
        assert_eq!(there, "https://s3.example.com/builds");
        let config = S3Config::parse("s3://builds/?region=eu-west-1").unwrap();
        assert_eq!(config.bucket_at(None), "https://builds.s3.eu-west-1.amazonaws.com");
    }

    #[test]
    fn what_is_not_understood_is_refused_and_not_repeated() {
        for bad in [
            "http://builds",
            "s3://key:s3cret@builds",
            "s3://s3cret@builds",
            "s3://builds?secret=s3cret",
            "s3://builds?s3cret",
            "s3://builds?endpoint=https://u:s3cret@host",
            "s3://builds?endpoint=https://host/s3cret",
            "s3://builds?endpoint=ftp://host",
            "s3://builds?style=s3cret",
            "s3://builds?part_mib=4",
            "s3://builds?part_mib=2000",
            "s3://builds?timeout=0",
            "s3://builds?region=",
            "s3://builds?endpoint=http://127.0.0.1:9000&style=host",
            "s3://b",
            "s3://builds/a//b",
            "s3://builds/a%2e%2e/b",
            "s3://builds:9000",
            &format!("s3://builds/{}", "x".repeat(513)),
        ] {
            let e = S3Config::parse(bad).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid, "{bad}");
            let told = format!("{e:?} {:?}", e.hint_text());
            assert!(!told.contains("s3cret"), "{told}");
        }
    }
}
