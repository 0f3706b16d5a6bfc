//! Where the server is, and how it is talked to.

use crate::tls;
use kiln::{Error, ErrorKind, Result};
use std::{fmt, fs, net::IpAddr, time::Duration};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

const OP: &str = "PgConfig::new";
/// How long reaching one address may take, where the URL says nothing.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// When a silent connection is looked after, and for how long what was sent may go unanswered.
const KEEPALIVE: Duration = Duration::from_secs(15);
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);
/// What tokio-postgres says where the URL does not.
const KEEPALIVE_UNSET: Duration = Duration::from_secs(2 * 60 * 60);
/// `LISTEN` takes names of 63 bytes, and ours has a word before the schema.
const SCHEMA_MAX: usize = 48;
/// What every session is told. Plans are for a queue of any length also while it is short; nothing
/// waits for a lock for long, and no transaction stays open.
const SESSION: &str = "-c jit=off -c enable_seqscan=off -c enable_bitmapscan=off \
    -c lock_timeout=15s -c idle_in_transaction_session_timeout=60s -c client_min_messages=warning";

/// The settings of [`PgDb`](crate::PgDb). Its `Debug` shows no password.
#[derive(Clone)]
pub struct PgConfig {
    pub(crate) session: Config,
    pub(crate) schema: String,
    pub(crate) readers: usize,
    pub(crate) authority: Option<Vec<u8>>,
}

impl PgConfig {
    /// Reads a URL (`postgres://user:password@host:port/database?sslmode=verify-full`) or libpq's
    /// keywords (`host=db user=kiln dbname=kiln`), as tokio-postgres does.
    ///
    /// `sslmode` is `disable`, or `verify-full`, which is what `require` and `verify-ca` mean here
    /// too: the certificate has to be good and for this host. Without one, it is `disable` for Unix
    /// sockets and addresses of this machine, and else `verify-full`. `sslrootcert` names a file of
    /// authorities in PEM, for which see [`PgConfig::authority`].
    ///
    /// `Invalid` if it cannot be read; no part of it is in the error.
    pub fn new(url: &str) -> Result<Self> {
        let (rest, tls) = taken_apart(url)?;
        let mut session: Config = rest.parse().map_err(|_| {
            // What the library says may name a part of a password that was not quoted.
            invalid("the address of PostgreSQL cannot be read")
                .hint("It is `postgres://user:password@host:port/database`; see docs/postgres.md.")
        })?;
        if session.get_hosts().is_empty() && session.get_hostaddrs().is_empty() {
            return Err(invalid("the address of PostgreSQL names no host"));
        }
        if session.get_hosts().iter().any(|h| matches!(h, Host::Tcp(name) if name.contains('@'))) {
            return Err(invalid("the address of PostgreSQL has two `@`")
                .hint("Write `%40` for one that is in the password."));
        }
        let here = session.get_hosts().iter().all(is_here);
        session.ssl_mode(tls.mode(here)?);
        session.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if session.get_connect_timeout().is_none() {
            session.connect_timeout(CONNECT_MAX);
        }
        if session.get_keepalives_idle() == KEEPALIVE_UNSET {
            session.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE / 3);
            session.keepalives_retries(3);
        }
        if session.get_tcp_user_timeout().is_none() {
            session.tcp_user_timeout(UNACKNOWLEDGED_MAX);
        }
        if session.get_application_name().is_none() {
            session.application_name("kiln");
        }
        let authority = tls.file.map(|path| {
            fs::read(&path).map_err(|e| {
                Error::new(ErrorKind::Invalid, OP, "the file of authorities cannot be read")
                    .with("file", path)
                    .source(e)
            })
        });
        let mut config =
            Self { session, schema: String::new(), readers: 6, authority: authority.transpose()? };
        config = config.schema("kiln")?;
        tls::check(&config)?;
        Ok(config)
    }

    /// Keeps everything in a schema of this name, which is made where needed; `kiln` unless said
    /// otherwise. Whoever shares builds shares the schema.
    ///
    /// `Invalid` unless it is 1 to 48 lower-case letters, digits and `_`, no digit first.
    pub fn schema(mut self, name: &str) -> Result<Self> {
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        if !begins || name.len() > SCHEMA_MAX || !name.chars().all(fine) || name.starts_with("pg_")
        {
            return Err(invalid("this is no name for a schema")
                .with("schema", name.escape_debug())
                .hint("It is 1 to 48 lower-case letters, digits and `_`, no digit first."));
        }
        name.clone_into(&mut self.schema);
        Ok(self)
    }

    /// Trusts the authorities of this PEM text, and those of the machine no more.
    ///
    /// `Invalid` if it holds no certificate.
    pub fn authority(mut self, pem: &[u8]) -> Result<Self> {
        self.authority = Some(pem.to_vec());
        tls::check(&self)?;
        Ok(self)
    }

    /// How many reads go on at once, 6 unless said otherwise and at least 1. Beside these
    /// connections there are three that write and one that listens.
    #[must_use]
    pub fn readers(mut self, count: usize) -> Self {
        self.readers = count.max(1);
        self
    }

    /// The settings of one session.
    pub(crate) fn session(&self) -> Config {
        let mut session = self.session.clone();
        let theirs = session.get_options().unwrap_or_default().to_owned();
        session.options(format!("{SESSION} {theirs} -c search_path={}", self.schema));
        session
    }
}

impl fmt::Debug for PgConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgConfig")
            .field("hosts", &self.session.get_hosts())
            .field("ports", &self.session.get_ports())
            .field("database", &self.session.get_dbname())
            .field("user", &self.session.get_user())
            .field("tls", &(self.session.get_ssl_mode() != SslMode::Disable))
            .field("schema", &self.schema)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, OP, message)
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// What a URL says of TLS.
#[derive(Default)]
struct Tls {
    mode: Option<String>,
    file: Option<String>,
}

impl Tls {
    fn mode(&self, here: bool) -> Result<SslMode> {
        match self.mode.as_deref() {
            Some("disable") => Ok(SslMode::Disable),
            Some("require" | "verify-ca" | "verify-full") => Ok(SslMode::Require),
            None if here => Ok(SslMode::Disable),
            None => Ok(SslMode::Require),
            Some("allow" | "prefer") => {
                Err(invalid("this `sslmode` gives way to whoever stands between")
                    .hint("Say `disable` or `verify-full`."))
            }
            Some(_) => Err(invalid("this is no `sslmode`").hint("Say `disable` or `verify-full`.")),
        }
    }

    /// Takes a setting that is about TLS, and says whether it was.
    fn take(&mut self, key: &str, value: &str) -> bool {
        match key {
            "sslmode" => self.mode = Some(value.to_owned()),
            "sslrootcert" => self.file = Some(value.to_owned()),
            _ => return false,
        }
        true
    }
}

/// The text without what it says of TLS, since tokio-postgres knows less of that.
fn taken_apart(text: &str) -> Result<(String, Tls)> {
    let mut tls = Tls::default();
    if text.contains('\0') || text.contains("%00") {
        return Err(invalid("the address of PostgreSQL holds a NUL"));
    }
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        let mut rest = String::new();
        for (key, value) in keywords(text)? {
            if !tls.take(&key, &value) {
                let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
                rest.push_str(&format!("{key}='{quoted}' "));
            }
        }
        return Ok((rest, tls));
    }
    let host = text.find('@').map_or(0, |at| at + 1);
    let Some(query) = text[host..].find('?').map(|at| host + at) else {
        return Ok((text.to_owned(), tls));
    };
    let others: Vec<_> = text[query + 1..]
        .split('&')
        .filter(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            // A path may be written with `%2F`; what else would be is in no path of sense.
            !tls.take(key, &value.replace("%2F", "/").replace("%2f", "/"))
        })
        .collect();
    let mark = if others.is_empty() { "" } else { "?" };
    Ok((format!("{}{mark}{}", &text[..query], others.join("&")), tls))
}

/// libpq's keywords and their values, without quotes.
fn keywords(text: &str) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    let mut left = text.trim_start();
    while !left.is_empty() {
        let (key, rest) = left
            .split_once('=')
            .ok_or_else(|| invalid("a keyword of the address of PostgreSQL has no value"))?;
        let rest = rest.trim_start();
        let quoted = rest.starts_with('\'');
        let mut value = String::new();
        let mut letters = rest.char_indices().skip(usize::from(quoted));
        let end = loop {
            match letters.next() {
                Some((at, '\'')) if quoted => break at + 1,
                Some((at, c)) if !quoted && c.is_whitespace() => break at,
                Some((_, '\\')) => value.extend(letters.next().map(|(_, c)| c)),
                Some((_, c)) => value.push(c),
                None if quoted => {
                    return Err(invalid("a quote in the address of PostgreSQL does not end"));
                }
                None => break rest.len(),
            }
        };
        all.push((key.trim().to_owned(), value));
        left = rest[end..].trim_start();
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(url: &str) -> Result<bool, ErrorKind> {
        PgConfig::new(url)
            .map(|c| c.session.get_ssl_mode() != SslMode::Disable)
            .map_err(|e| e.kind())
    }

    #[test]
    fn tls_is_whole_or_not_at_all() {
        for (url, expected) in [
            ("postgres://kiln@db/kiln", Ok(true)),
            ("postgres://kiln@db,localhost/kiln", Ok(true)),
            ("postgres://kiln@10.0.0.1/kiln?sslmode=require", Ok(true)),
            ("postgres://kiln@127.0.0.1/kiln?connect_timeout=3&sslmode=verify-full", Ok(true)),
            ("postgres://kiln@db/kiln?sslmode=disable&connect_timeout=3", Ok(false)),
            ("postgres://kiln@[::1]:5433/kiln", Ok(false)),
            ("postgres:///kiln?host=/run/postgresql", Ok(false)),
            ("host=db user=kiln sslmode = 'verify-ca'", Ok(true)),
            ("host=localhost user=kiln", Ok(false)),
            ("postgres://kiln@db/kiln?sslmode=prefer", Err(ErrorKind::Invalid)),
            ("postgres://kiln@db/kiln?sslmode=Disable", Err(ErrorKind::Invalid)),
            ("postgres://kiln@db/kiln?sslrootcert=%2Fno%2Fsuch", Err(ErrorKind::Invalid)),
        ] {
            assert_eq!(tls(url), expected, "{url}");
        }
    }

    #[test]
    fn keywords_keep_their_values() {
        let config = PgConfig::new(r"host=localhost user='it\'s me' password='a b\\c' dbname=d");
        let session = config.unwrap().session;
        assert_eq!(session.get_user(), Some("it's me"));
        assert_eq!(session.get_password(), Some(br"a b\c".as_slice()));
        assert_eq!(session.get_dbname(), Some("d"));
    }

    #[test]
    fn nothing_tells_a_password() {
        let config = PgConfig::new("postgres://kiln:geheim@localhost/kiln").unwrap();
        assert!(!format!("{config:?} {:?}", config.session()).contains("geheim"));
        for wrong in [
            "postgres://kiln:geheim@db:x/kiln",
            "postgres://kiln:geheim@",
            "host=db password='geheim",
            "host=db password=geheim secret=geheim",
            "host=db password=my geheim user=kiln",
            "postgres://kiln:my@geheim@db/kiln",
            "password=geheim",
            "postgres://kiln:geheim%00@db/kiln",
            "geheim",
        ] {
            let e = PgConfig::new(wrong).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid, "{wrong}");
            assert!(!format!("{e:?}").contains("geheim"), "{e:?}");
        }
    }

    #[test]
    fn a_schema_is_a_plain_name() {
        let config = || PgConfig::new("postgres://kiln@localhost/kiln").unwrap();
        for good in ["k", "kiln_2", "_x", &"s".repeat(48)] {
            assert_eq!(config().schema(good).unwrap().schema, good);
        }
        for bad in ["", "2k", "Kiln", "k-n", "k\"n", "k n", "pg_kiln", "k\0", &"s".repeat(49)] {
            assert_eq!(config().schema(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }
}
