//! Logging in, with what the plan gives or with the keys of this host.

use super::Carrier;
use crate::{auth::Auth, key::Key};
use kiln::{Error, ErrorKind, Result, secret::Credentials};
use ssh2::{ErrorCode, Session};
use std::{
    net::{Shutdown, TcpStream},
    path::Path,
    sync::mpsc::{RecvTimeoutError, channel},
};

/// How many keys of an agent are shown: servers hang up after six, and files come after them.
const AGENT_KEYS_MAX: usize = 4;

/// What came of a key.
enum Shown {
    Accepted,
    Refused,
    /// libssh2 could make nothing of it.
    Unread,
    /// There is nobody to show it to any more.
    Broken(ssh2::Error),
}

impl Carrier {
    pub(super) fn log_in(&self, session: &Session, local: &TcpStream) -> Result<()> {
        // Whoever clones over SSH is called this on nearly every forge.
        let user = self.url.user().unwrap_or("git");
        match &self.auth {
            Auth::None => Err(self
                .denied("the server wants a key", user)
                .hint("Give the source a private key as credentials.")),
            Auth::Password(credentials) => self.by_password(session, user, credentials),
            Auth::Key(key) => self.by_key(session, user, key),
            Auth::Host(_) => self.by_host(session, user, local),
        }
    }

    fn denied(&self, message: &str, user: &str) -> Error {
        self.error(ErrorKind::Denied, message).with("user", user)
    }

    fn not_let_in(&self, user: &str) -> Error {
        self.denied("the server refuses these credentials", user)
            .hint("Check that they are meant for this host and may read this repository.")
    }

    fn by_password(&self, session: &Session, user: &str, known: &Credentials) -> Result<()> {
        let password = known.password.expose_str().unwrap_or_default();
        let user = self.url.user().unwrap_or(if known.username.is_empty() {
            user
        } else {
            &known.username
        });
        match shown(session, session.userauth_password(user, password)) {
            Shown::Accepted => Ok(()),
            Shown::Broken(e) => Err(self.broken(&e)),
            Shown::Refused | Shown::Unread => Err(self.not_let_in(user)),
        }
    }

    fn by_key(&self, session: &Session, user: &str, key: &Key) -> Result<()> {
        match show(session, user, key) {
            Shown::Accepted => Ok(()),
            Shown::Refused => Err(self.not_let_in(user)),
            Shown::Broken(e) => Err(self.broken(&e)),
            Shown::Unread if key.passphrase.is_some() => Err(self
                .denied("the passphrase does not open the key", user)
                .hint("Check it with `ssh-keygen -y -f key`.")),
            Shown::Unread => Err(self
                .denied("the key cannot be read", user)
                .hint("Make a key for this: `ssh-keygen -t ed25519 -N ''`.")),
        }
    }

    /// With the keys of the agent, then with those of files.
    fn by_host(&self, session: &Session, user: &str, local: &TcpStream) -> Result<()> {
        if let Some(agent) = &self.shared.config.ssh_agent
            && self.in_time(local, || by_agent(session, user, agent))
        {
            return Ok(());
        }
        let mut passed_over = Vec::new();
        for file in &self.shared.config.identities {
            let Ok(text) = std::fs::read_to_string(file) else { continue };
            let why = match Key::read(&text, None) {
                Ok(None) => continue,
                Err(e) => e.to_string(),
                Ok(Some(key)) => match show(session, user, &key) {
                    Shown::Accepted => return Ok(()),
                    Shown::Broken(e) => return Err(self.broken(&e)),
                    Shown::Refused => continue,
                    Shown::Unread => "it cannot be read".to_owned(),
                },
            };
            passed_over.push(format!("{}: {why}", file.display()));
        }
        let error = self.denied("the server accepts no key of this host", user).hint(
            "Add a key to the SSH agent with `ssh-add`, or give the source a private key as \
             credentials.",
        );
        Err(if passed_over.is_empty() {
            error
        } else {
            error.with("passed over", passed_over.join("; "))
        })
    }

    /// Does something that libssh2 has no time limit for, such as waiting for somebody who is to
    /// confirm the use of a key. When it takes too long, the thread is left to itself.
    fn in_time<T>(&self, local: &TcpStream, work: impl FnOnce() -> T) -> T {
        let (done, is_done) = channel::<()>();
        let limit = self.shared.config.server_timeout;
        let (shared, local) = (self.shared.clone(), local.try_clone());
        let watch = move || {
            if is_done.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                let message = format!("the SSH agent gave no answer within {limit:?}");
                shared.fail(shared.error(ErrorKind::Unavailable, message));
                let _ = local.map(|l| l.shutdown(Shutdown::Both));
            }
        };
        if let Err(e) = std::thread::Builder::new().name("kiln-git-agent".into()).spawn(watch) {
            tracing::warn!(error = %e, "no thread to watch the SSH agent");
        }
        let result = work();
        drop(done);
        result
    }
}

fn by_agent(session: &Session, user: &str, socket: &Path) -> bool {
    let log_in = || {
        let mut agent = session.agent()?;
        agent.set_identity_path(socket)?;
        agent.connect()?;
        agent.list_identities()?;
        let keys = agent.identities()?;
        Ok(keys.iter().take(AGENT_KEYS_MAX).any(|key| agent.userauth(user, key).is_ok()))
    };
    let tried: Result<bool, ssh2::Error> = log_in();
    if let Err(e) = &tried {
        tracing::debug!(error = %e, "the SSH agent is of no use");
    }
    tried.is_ok_and(|tried| tried && session.authenticated())
}

fn show(session: &Session, user: &str, key: &Key) -> Shown {
    let passphrase = key.passphrase.as_ref().and_then(|p| p.expose_str());
    let text = key.text.expose_str().unwrap_or_default();
    shown(session, session.userauth_pubkey_memory(user, None, text, passphrase))
}

fn shown(session: &Session, result: Result<(), ssh2::Error>) -> Shown {
    let Err(e) = result else {
        // A server may want a second proof, which we do not have.
        return if session.authenticated() { Shown::Accepted } else { Shown::Refused };
    };
    match e.code() {
        // `AUTHENTICATION_FAILED` and `PUBLICKEY_UNVERIFIED` of libssh2.h.
        ErrorCode::Session(-18 | -19) => Shown::Refused,
        // `SOCKET_SEND`, `TIMEOUT`, `SOCKET_DISCONNECT`, `SOCKET_TIMEOUT`, `SOCKET_RECV`.
        ErrorCode::Session(-7 | -9 | -13 | -30 | -43) => Shown::Broken(e),
        _ => Shown::Unread,
    }
}
