//! What comes on standard input: a Dockerfile, or an archive with everything.

use super::plan::usage;
use crate::args::BuildArgs;
use kiln::{Error, ErrorKind, Result};
use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use tokio::sync::oneshot;

/// The longest Dockerfile that is read.
const DOCKERFILE_BYTES_MAX: u64 = 4 << 20;
/// How much is read before it is known what comes.
const HEAD_BYTES: u64 = 512;

/// What came.
#[derive(Debug)]
pub(super) enum Input {
    Dockerfile(String),
    Archive(PathBuf),
}

/// Whether the arguments ask for standard input.
pub(super) fn is_asked(args: &BuildArgs) -> Result<bool> {
    let file = args.file.as_deref() == Some(Path::new("-"));
    if file && args.context == "-" {
        return Err(usage("standard input is both the context and the Dockerfile")
            .hint("Name a directory beside `--file -`."));
    }
    Ok(file || args.context == "-")
}

/// Reads all of standard input; an archive goes into a file of the given name.
///
/// A thread of its own reads, so that a signal can end the command meanwhile.
pub(super) async fn read(args: &BuildArgs, archive: PathBuf) -> Result<Input> {
    let (only_dockerfile, named) = (args.context != "-", args.file.is_some());
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new()
        .name("kiln-input".into())
        .spawn(move || answer.send(take(&archive, only_dockerfile)))
        .map_err(wrong)?;
    let input = answered.await.map_err(|e| wrong(io::Error::other(e)))??;
    if matches!(input, Input::Dockerfile(_)) && named && !only_dockerfile {
        return Err(usage("--file has no place beside a Dockerfile on standard input"));
    }
    Ok(input)
}

fn wrong(e: io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::StorageFull => ErrorKind::Exhausted,
        _ => ErrorKind::Unexpected,
    };
    Error::new(kind, "kiln build", "standard input cannot be taken in").source(e.to_string())
}

fn take(archive: &Path, only_dockerfile: bool) -> Result<Input> {
    let mut input = io::stdin().lock();
    if input.is_terminal() {
        return Err(usage("standard input is a terminal")
            .hint("Pipe a Dockerfile or a tar archive into it."));
    }
    let mut head = Vec::new();
    (&mut input).take(HEAD_BYTES).read_to_end(&mut head).map_err(wrong)?;
    if head.is_empty() {
        return Err(usage("standard input is empty; pipe a Dockerfile or a tar archive into it"));
    }
    if is_archive(&head) && !only_dockerfile {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(archive);
        let copied = file.and_then(|mut file| {
            file.write_all(&head)?;
            io::copy(&mut input, &mut file)
        });
        if let Err(e) = copied {
            // What cannot be removed now is swept later.
            let _ = std::fs::remove_file(archive);
            return Err(wrong(e));
        }
        return Ok(Input::Archive(archive.to_owned()));
    }
    let rest = DOCKERFILE_BYTES_MAX + 1 - head.len() as u64;
    input.take(rest).read_to_end(&mut head).map_err(wrong)?;
    if head.len() as u64 > DOCKERFILE_BYTES_MAX {
        return Err(usage("the Dockerfile on standard input is larger than 4 MiB"));
    }
    String::from_utf8(head).map(Input::Dockerfile).map_err(|_| {
        usage(if only_dockerfile {
            "standard input is no Dockerfile"
        } else {
            "standard input is neither a Dockerfile nor a tar archive"
        })
    })
}

/// Whether these are the first bytes of a tar archive, plain or compressed.
fn is_archive(head: &[u8]) -> bool {
    const COMPRESSED: [&[u8]; 4] =
        [&[0x1f, 0x8b], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z'], &[0x28, 0xb5, 0x2f, 0xfd]];
    head.get(257..262) == Some(b"ustar") || COMPRESSED.iter().any(|magic| head.starts_with(magic))
}
