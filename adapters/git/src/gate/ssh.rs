//! The gate for ssh: libgit2 speaks git's own protocol to it, which is what a server speaks over
//! SSH after the first line.

mod known_hosts;
mod login;
mod session;

use super::{Shared, advert::Advertisement, pace::Pace};
use crate::{auth::Auth, error, text::clean, url::GitUrl};
use kiln::{Error, ErrorKind, Result};
use std::{
    io::{ErrorKind as IoKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

const PAUSE_MIN: Duration = Duration::from_micros(200);
/// How long a pause may be while nothing comes from either side.
const PAUSE_MAX: Duration = Duration::from_millis(10);

/// Serves libgit2's one connection at a time, each on a thread of its own.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, url: GitUrl, auth: Auth) {
    while let Ok((local, _)) = listener.accept().await {
        let (shared, url, auth) = (shared.clone(), url.clone(), auth.clone());
        let work = move || {
            let local =
                local.into_std().map_err(|e| error::io(shared.op, "taking a connection", e));
            let carried = local.and_then(|l| Carrier { shared, url, auth }.carry(l));
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

struct Carrier {
    shared: Arc<Shared>,
    url: GitUrl,
    auth: Auth,
}

impl Carrier {
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
        self.log_in(&session, local)?;
        let mut channel = session.channel_session().map_err(|e| self.broken(&e))?;
        channel.exec(&command(self.url.path())).map_err(|e| self.broken(&e))?;
        session.set_blocking(false);
        local.set_nonblocking(true).map_err(io)?;
        self.pump(&mut channel, local)
    }

    fn broken(&self, e: &ssh2::Error) -> Error {
        self.error(ErrorKind::Unavailable, format!("SSH failed: {}", clean(e.message().as_bytes())))
    }

    /// Carries bytes both ways until one side is done.
    fn pump(&self, channel: &mut ssh2::Channel, local: &mut TcpStream) -> Result<()> {
        let mut buffer = vec![0; 64 << 10];
        let (mut received, mut complaint) = (0, Vec::new());
        let (mut pace, mut list) =
            (Pace::new(self.shared.config.server_timeout), Advertisement::default());
        let mut pause = PAUSE_MIN;
        loop {
            let mut moved = false;
            match channel.read(&mut buffer) {
                Ok(0) if channel.eof() => break,
                Ok(n) if n > 0 => {
                    (moved, received) = (true, received + n);
                    pace.hear(n);
                    if list.is_strange(&buffer[..n]) {
                        return Err(self.shared.strange());
                    }
                    if !self.shared.budget.take(n) {
                        return Err(self.shared.too_much());
                    }
                    self.write_all(local, &buffer[..n])?;
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
                    self.write_all(channel, &buffer[..n])?;
                }
                other => idle(other).map_err(|e| self.io(e))?,
            }
            if moved {
                pause = PAUSE_MIN;
                continue;
            }
            if pace.left().is_zero() {
                return Err(self.shared.too_slow(&pace));
            }
            let start = Instant::now();
            std::thread::sleep(pause);
            pace.wait(start.elapsed());
            pause = (pause * 2).min(PAUSE_MAX);
        }
        if received == 0 { Err(self.refused(&complaint)) } else { Ok(()) }
    }

    /// Writes everything to something that does not wait by itself.
    fn write_all(&self, to: &mut impl Write, mut bytes: &[u8]) -> Result<()> {
        let mut moved = Instant::now();
        while !bytes.is_empty() {
            match to.write(bytes) {
                Ok(0) => return Err(self.io(IoKind::WriteZero.into())),
                Ok(n) => (bytes, moved) = (&bytes[n..], Instant::now()),
                Err(e) if matches!(e.kind(), IoKind::WouldBlock | IoKind::Interrupted) => {
                    if moved.elapsed() > self.shared.config.server_timeout {
                        return Err(self.shared.silent());
                    }
                    std::thread::sleep(PAUSE_MIN);
                }
                Err(e) => return Err(self.io(e)),
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_is_one_word_to_a_shell() {
        let quoted = super::command("/a b'; rm -rf $HOME #");
        assert_eq!(quoted, r"git-upload-pack '/a b'\''; rm -rf $HOME #'");
    }
}
