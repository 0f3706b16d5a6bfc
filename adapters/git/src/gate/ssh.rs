//! The gate for ssh: libgit2 speaks git's own protocol to it, which is what a server speaks over
//! SSH after the first line.

use super::{Shared, connect::connect_blocking};
use crate::{auth::Auth, error, text::clean, url::GitUrl};
use kiln::{Error, ErrorKind, Result};
use ssh2::{CheckResult, KnownHostFileKind, MethodType, Session};
use std::{
    io::{ErrorKind as IoKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

/// Kinds of host keys, tried one by one where the one that the server prefers is not known.
const KEY_KINDS: [&str; 3] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521",
    "rsa-sha2-512,rsa-sha2-256",
];
/// How long a pause may be while nothing comes from either side.
const PAUSE_MAX: Duration = Duration::from_millis(10);

/// Serves libgit2's one connection at a time, each on a thread of its own.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, url: GitUrl, auth: Auth) {
    while let Ok((local, _)) = listener.accept().await {
        let (shared, url, auth) = (shared.clone(), url.clone(), auth.clone());
        let work = move || {
            let local =
                local.into_std().map_err(|e| error::io(shared.op, "taking a connection", e));
            let carried = local.and_then(|l| Carrier { shared: &shared, url, auth }.carry(l));
            if let Err(e) = carried {
                tracing::debug!(error = %e, "an SSH connection was closed before its end");
            }
        };
        // A thread and not a task: libssh2 waits on its own, and nobody must wait for it.
        let started = std::thread::Builder::new().name("kiln-git-ssh".into()).spawn(work);
        if let Err(e) = started {
            tracing::warn!(error = %e, "no thread for an SSH connection");
        }
    }
}

struct Carrier<'a> {
    shared: &'a Shared,
    url: GitUrl,
    auth: Auth,
}

impl Carrier<'_> {
    fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        self.shared.error(kind, message).with("host", self.url.host())
    }

    fn io(&self, e: std::io::Error) -> Error {
        self.error(ErrorKind::Unavailable, format!("the connection broke: {e}"))
    }

    fn carry(&self, mut local: TcpStream) -> Result<()> {
        let carried = self.carry_on(&mut local);
        if let Err(e) = carried
            && !self.shared.is_closed()
        {
            self.shared.fail(e);
        }
        // Dropping it is not enough: the gate holds it too.
        local.shutdown(Shutdown::Both).map_err(|e| self.io(e))
    }

    fn carry_on(&self, local: &mut TcpStream) -> Result<()> {
        let io = |e| self.io(e);
        self.shared.watch(local).map_err(io)?;
        local.set_nonblocking(false).map_err(io)?;
        local.set_read_timeout(Some(self.shared.config.connect_timeout)).map_err(io)?;
        if !is_ours(local, &self.shared.token).map_err(io)? {
            return Ok(());
        }
        let session = self.session()?;
        self.log_in(&session)?;
        let mut channel = session.channel_session().map_err(|e| self.broken(&e))?;
        channel.exec(&command(self.url.path())).map_err(|e| self.broken(&e))?;
        session.set_blocking(false);
        local.set_nonblocking(true).map_err(io)?;
        self.pump(&mut channel, local)
    }

    fn broken(&self, e: &ssh2::Error) -> Error {
        self.error(ErrorKind::Unavailable, format!("SSH failed: {}", clean(e.message().as_bytes())))
    }

    /// A session with a server whose key is known.
    fn session(&self) -> Result<Session> {
        let mut refusal = None;
        for kinds in std::iter::once(None).chain(KEY_KINDS.into_iter().map(Some)) {
            match self.session_with(kinds)? {
                Ok(session) => return Ok(session),
                // That the key is another one says more than that there is none.
                Err(e) if refusal.is_none() || kinds.is_none() => refusal = Some(e),
                Err(_) => {}
            }
            if self.shared.is_closed() {
                break;
            }
        }
        Err(refusal.unwrap_or_else(|| self.error(ErrorKind::Cancelled, "the gate was closed")))
    }

    /// The inner error is a host key that is not known.
    fn session_with(&self, kinds: Option<&str>) -> Result<Result<Session>> {
        let stream = connect_blocking(self.shared, self.url.host(), self.url.port())?;
        self.shared.watch(&stream).map_err(|e| self.io(e))?;
        let mut session = Session::new().map_err(|e| self.broken(&e))?;
        if let Some(kinds) = kinds
            && session.method_pref(MethodType::HostKey, kinds).is_err()
        {
            return Ok(Err(self.error(ErrorKind::Denied, "the host key is of no known kind")));
        }
        session.set_tcp_stream(stream);
        session.set_timeout(millis(self.shared.config.connect_timeout));
        match session.handshake() {
            Ok(()) => {}
            // The server has no key of this kind.
            Err(e) if kinds.is_some() => return Ok(Err(self.broken(&e))),
            Err(e) => return Err(self.broken(&e)),
        }
        let known = self.check_host(&session)?;
        Ok(known.map(|()| session))
    }

    fn check_host(&self, session: &Session) -> Result<Result<()>> {
        let mut known = session.known_hosts().map_err(|e| self.broken(&e))?;
        for file in &self.shared.config.known_hosts {
            if file.exists()
                && let Err(e) = known.read_file(file, KnownHostFileKind::OpenSSH)
            {
                // One bad line must not hide the good ones of other files.
                tracing::warn!(file = %file.display(), error = %e, "known hosts cannot be read");
            }
        }
        let (key, _) = session
            .host_key()
            .ok_or_else(|| self.error(ErrorKind::Unavailable, "the server has no host key"))?;
        let host = self.url.host().trim_matches(['[', ']']);
        let print = fingerprint(session);
        let denied =
            |message: &str| self.error(ErrorKind::Denied, message).with("fingerprint", &print);
        Ok(match known.check_port(host, self.url.port(), key) {
            CheckResult::Match => Ok(()),
            CheckResult::Mismatch => Err(denied(
                "the host has another key than the known one: it was changed, or this is not it",
            )
            .hint("Ask whoever runs the host; if the change is meant, remove the old line from known_hosts.")),
            CheckResult::NotFound | CheckResult::Failure => {
                Err(denied("the host's key is not known").hint(
                    "Compare the fingerprint with the one the host publishes, then add the output \
                     of `ssh-keyscan <host>` to known_hosts.",
                ))
            }
        })
    }

    fn log_in(&self, session: &Session) -> Result<()> {
        // Whoever clones over SSH is called this on nearly every forge.
        let user = self.url.user().unwrap_or("git");
        let tried = match &self.auth {
            Auth::None => false,
            Auth::Password(c) => {
                let password = c.password.expose_str().unwrap_or_default();
                let user = self.url.user().unwrap_or(&c.username);
                session.userauth_password(user, password).is_ok()
            }
            Auth::Key(key) => {
                let key = key.expose_str().unwrap_or_default();
                session.userauth_pubkey_memory(user, None, key, None).is_ok()
            }
            Auth::Host(_) => self.log_in_as_host(session, user),
        };
        if tried && session.authenticated() {
            return Ok(());
        }
        let (message, hint) = match &self.auth {
            Auth::None => {
                ("the server wants a key", "Give the source a private key as credentials.")
            }
            Auth::Host(_) => (
                "the server accepts no key of this host",
                "Add a key to the SSH agent, or give the source a private key as credentials.",
            ),
            Auth::Password(_) | Auth::Key(_) => (
                "the server refuses these credentials",
                "Check that the key has no passphrase and may read this repository.",
            ),
        };
        Err(self.error(ErrorKind::Denied, message).hint(hint).with("user", user))
    }

    fn log_in_as_host(&self, session: &Session, user: &str) -> bool {
        let by_agent = || {
            let mut agent = session.agent().ok()?;
            agent.connect().ok()?;
            agent.list_identities().ok()?;
            // Servers hang up after six keys.
            let keys = agent.identities().ok()?;
            keys.iter().take(5).find(|key| agent.userauth(user, key).is_ok()).map(|_| ())
        };
        let by_file = |file: &std::path::PathBuf| {
            file.exists() && session.userauth_pubkey_file(user, None, file, None).is_ok()
        };
        by_agent().is_some() || self.shared.config.identities.iter().any(by_file)
    }

    /// Carries bytes both ways until one side is done.
    fn pump(&self, channel: &mut ssh2::Channel, local: &mut TcpStream) -> Result<()> {
        let mut buffer = vec![0; 64 << 10];
        let (mut received, mut complaint) = (0, Vec::new());
        let (mut heard, mut pause) = (Instant::now(), Duration::from_micros(200));
        loop {
            let mut moved = false;
            match channel.read(&mut buffer) {
                Ok(0) if channel.eof() => break,
                Ok(n) if n > 0 => {
                    (moved, received) = (true, received + n);
                    if !self.shared.budget.take(n) {
                        return Err(self.shared.too_much());
                    }
                    write_all(local, &buffer[..n]).map_err(|e| self.io(e))?;
                }
                other => idle(other).map_err(|e| self.io(e))?,
            }
            match channel.stderr().read(&mut buffer) {
                Ok(n) if n > 0 && complaint.len() < 4096 => complaint.extend(&buffer[..n]),
                other => idle(other).map_err(|e| self.io(e))?,
            }
            match local.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    moved = true;
                    write_all(channel, &buffer[..n]).map_err(|e| self.io(e))?;
                }
                other => idle(other).map_err(|e| self.io(e))?,
            }
            if moved {
                (heard, pause) = (Instant::now(), Duration::from_micros(200));
                continue;
            }
            if heard.elapsed() > self.shared.config.server_timeout {
                return Err(self.shared.silent());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
        if received == 0 { Err(self.refused(&complaint)) } else { Ok(()) }
    }

    /// What a server means that says something and hangs up. There is nothing but the text to go by.
    fn refused(&self, complaint: &[u8]) -> Error {
        let said: Vec<_> =
            complaint.split(|b| *b == b'\n').map(clean).filter(|l| !l.is_empty()).collect();
        let said = said.join(" ");
        let lower = said.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
        let kind = if has(&["not found", "does not exist", "not appear to be a git", "no such"]) {
            ErrorKind::NotFound
        } else if has(&["denied", "not allowed", "unauthorized", "forbidden", "permission"]) {
            ErrorKind::Denied
        } else {
            ErrorKind::Unavailable
        };
        let said = if said.is_empty() { "nothing".to_owned() } else { said };
        self.error(kind, format!("the server gives no repository and says: {said}"))
            .hint("Check the address, and that the credentials may read the repository.")
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// What the server's shell is to run: the path is one word to it, whatever it holds.
fn command(path: &str) -> String {
    format!("git-upload-pack '{}'", path.replace('\'', r"'\''"))
}

/// The SHA-256 of a host key, written as OpenSSH does.
fn fingerprint(session: &Session) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
    let hash = session.host_key_hash(ssh2::HashType::Sha256).unwrap_or_default();
    format!("SHA256:{}", STANDARD_NO_PAD.encode(hash))
}

/// Reads the line with which libgit2 begins, and compares what only it can know.
fn is_ours(local: &mut TcpStream, token: &str) -> std::io::Result<bool> {
    let mut length = [0; 4];
    local.read_exact(&mut length)?;
    let length = std::str::from_utf8(&length).ok().and_then(|l| usize::from_str_radix(l, 16).ok());
    let Some(length @ 5..=1024) = length else { return Ok(false) };
    let mut line = vec![0; length - 4];
    local.read_exact(&mut line)?;
    let wanted = format!("git-upload-pack /{token}\0");
    Ok(line.starts_with(wanted.as_bytes()))
}

fn idle(read: std::io::Result<usize>) -> std::io::Result<()> {
    match read {
        Ok(_) => Ok(()),
        Err(e) if matches!(e.kind(), IoKind::WouldBlock | IoKind::Interrupted) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Writes everything to something that does not wait by itself.
fn write_all(to: &mut impl Write, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(IoKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(e) if matches!(e.kind(), IoKind::WouldBlock | IoKind::Interrupted) => {
                std::thread::sleep(Duration::from_micros(200));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_is_one_word_to_a_shell() {
        let quoted = super::command("/a b'; rm -rf $HOME #");
        assert_eq!(quoted, r"git-upload-pack '/a b'\''; rm -rf $HOME #'");
    }
}
