//! Redis.

use super::start::{LOCALHOST, Place, has_server, password, server};
use super::{Entry, container};
use crate::error::{Context, Result};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

const PROGRAMS: &[&str] = &["redis-server", "valkey-server"];
const IMAGES: [&str; 3] = ["redis:8", "redis:7", "redis:latest"];

/// Starts a server that keeps all it acknowledges and wants a password.
pub(super) fn start(place: &Place<'_>) -> Result<Entry> {
    let password = password()?;
    let config = place.data.join("redis.conf");
    let configure = |bind: &str, port: u16, dir: &str| {
        let text = format!(
            "bind {bind}\nport {port}\nrequirepass {password}\ndir {dir}\n\
             save \"\"\nappendonly yes\nappendfsync always\ndaemonize no\n"
        );
        fs::write(&config, text).context(format!("cannot write {}", config.display()))
    };
    if !has_server(PROGRAMS)
        && let Some(image) = IMAGES.into_iter().find(|image| container::has_image(image))
    {
        configure("0.0.0.0", 6379, "/tmp")?;
        let mounts = [(place.data.as_path(), "/data")];
        let image = container::Image {
            name: image,
            port: 6379,
            mounts: &mounts,
            command: &["redis-server", "/data/redis.conf"],
            ..Default::default()
        };
        let (addr, id) = container::run(place, LOCALHOST, &image, answers)?;
        return Ok(entry(place, addr, &password).with("container", id));
    }
    let program = server(PROGRAMS, "queues", &["redis-server"], &["redis-server"])?;
    let (addr, process) = place.serve(
        LOCALHOST,
        |addr| {
            configure("127.0.0.1", addr.port(), &format!("\"{}\"", place.data.display()))?;
            let mut command = Command::new(&program);
            command.arg(&config);
            Ok(command)
        },
        answers,
    )?;
    Ok(entry(place, addr, &password).with_process(&process))
}

fn entry(place: &Place<'_>, addr: SocketAddr, password: &str) -> Entry {
    place
        .entry(addr, &format!("redis://:{password}@{addr}/0"))
        .with("shown", format!("redis://{addr}/0"))
        .with("password", password)
}

/// It refuses a ping without a password, and so it is up.
fn answers(addr: SocketAddr) -> bool {
    let ask = || -> std::io::Result<[u8; 7]> {
        let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| &answer == b"-NOAUTH")
}
