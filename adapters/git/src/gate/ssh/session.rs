//! A session with a server that is the one it should be.

use super::{
    Carrier,
    known_hosts::{Known, Verdict, kind_of},
    millis,
};
use crate::gate::connect::connect_blocking;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use kiln::{Error, ErrorKind, Result};
use ssh2::{CheckResult, KnownHostFileKind, MethodType, Session};

impl Carrier {
    /// Connects to the server and checks its key.
    pub(super) fn session(&self) -> Result<Session> {
        let stream = connect_blocking(&self.shared, self.url.host(), self.url.port())?;
        self.shared.watch(&stream).map_err(|e| self.io(e))?;
        let mut session = Session::new().map_err(|e| self.broken(&e))?;
        let known = self.known(&session);
        // Of a server's keys only one is shown, so the known kind has to be asked for.
        session.method_pref(MethodType::HostKey, &known.kinds()).map_err(|e| self.broken(&e))?;
        session.set_tcp_stream(stream);
        session.set_timeout(millis(self.shared.config.connect_timeout));
        session.handshake().map_err(|e| self.broken(&e))?;
        self.check_host(&session, &known)?;
        Ok(session)
    }

    fn host(&self) -> &str {
        self.url.host().trim_matches(['[', ']'])
    }

    /// What the files of known hosts say of the server.
    fn known(&self, session: &Session) -> Known {
        let mut text = String::new();
        for file in &self.shared.config.known_hosts {
            match std::fs::read(file) {
                Ok(bytes) => {
                    text.push_str(&String::from_utf8_lossy(&bytes));
                    text.push('\n');
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => {
                    tracing::warn!(file = %file.display(), error = %e, "known hosts cannot be read");
                }
            }
        }
        let is_hash_of = |hashed: &str, name: &str| is_hash_of(session, hashed, name);
        Known::read(&text, self.host(), self.url.port(), &is_hash_of)
    }

    fn check_host(&self, session: &Session, known: &Known) -> Result<()> {
        let (key, _) = session
            .host_key()
            .ok_or_else(|| self.error(ErrorKind::Unavailable, "the server has no host key"))?;
        let denied = |message: &str| {
            let error = self.error(ErrorKind::Denied, message);
            error.with("key", kind_of(key).unwrap_or("?")).with("fingerprint", fingerprint(session))
        };
        match known.verdict(key) {
            Verdict::Known => Ok(()),
            Verdict::Changed => Err(denied(
                "the host has another key than the known one: it was changed, or this is not it",
            )
            .hint(
                "Ask whoever runs the host; if the change is meant, remove the old line from \
                 known_hosts.",
            )),
            Verdict::Revoked => Err(denied("the host shows a key that known_hosts has revoked")
                .hint("Whoever has that key can pretend to be the host. Ask whoever runs it.")),
            Verdict::Unknown => Err(self.unknown(denied("the host's key is not known"), known)),
        }
    }

    /// Says what to do about a host that nothing is known of.
    fn unknown(&self, error: Error, known: &Known) -> Error {
        let file = self.shared.config.known_hosts.first();
        let file = file.map_or("a file of known hosts".into(), |f| f.display().to_string());
        let port = match self.url.port() {
            22 => String::new(),
            port => format!("-p {port} "),
        };
        let certificates = match known.has_authority {
            true => {
                " Its line with `@cert-authority` is of no use: certificates are not supported."
            }
            false => "",
        };
        error.hint(format!(
            "Compare the fingerprint with the one that the host publishes; if it is the same, run \
             `ssh-keyscan {port}{} >> {file}`.{certificates}",
            self.host(),
        ))
    }
}

/// Whether a hashed name is that of a plain one: by libssh2, which has the hash that it takes.
fn is_hash_of(session: &Session, hashed: &str, name: &str) -> bool {
    let Ok(mut known) = session.known_hosts() else { return false };
    // Any key does, if it is not too short for one: asked is whether the line is about the host.
    let line = format!("{hashed} ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ\n");
    known.read_str(&line, KnownHostFileKind::OpenSSH).is_ok()
        && matches!(known.check(name, b"-"), CheckResult::Match | CheckResult::Mismatch)
}

/// The SHA-256 of a host key, written as OpenSSH does.
fn fingerprint(session: &Session) -> String {
    let hash = session.host_key_hash(ssh2::HashType::Sha256).unwrap_or_default();
    format!("SHA256:{}", STANDARD_NO_PAD.encode(hash))
}
