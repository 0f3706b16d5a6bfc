//! Enough HTTP to ask a local service whether it is up.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// A stream that can be asked.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

const PATIENCE: Duration = Duration::from_secs(3);

/// `GET path` over TCP: the status and the body.
pub(crate) fn get(addr: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    exchange(Box::new(stream), path)
}

/// `GET path` over a Unix socket: the status and the body.
#[cfg(unix)]
pub(crate) fn get_unix(socket: &Path, path: &str) -> io::Result<(u16, String)> {
    let stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    exchange(Box::new(stream), path)
}

/// Without Unix sockets nothing answers on one.
#[cfg(not(unix))]
pub(crate) fn get_unix(_: &Path, _: &str) -> io::Result<(u16, String)> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

fn exchange(mut stream: Box<dyn Stream>, path: &str) -> io::Result<(u16, String)> {
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    // No local service answers these questions with more than this.
    stream.take(1 << 20).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let status = text.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match status {
        Some(status) => Ok((status, body.to_owned())),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer")),
    }
}
