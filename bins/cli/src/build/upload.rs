//! Sending the files of a build to a server.

use super::{
    Show,
    plan::{Chosen, Ground},
};
use crate::{print, remote::Server, text};
use bytes::{Bytes, BytesMut};
use console::Term;
use futures::{StreamExt, stream, stream::BoxStream};
use kiln::{CancelToken, Error, ErrorKind, Recipe, Result, SourceSpec, Status, image::Digest};
use kiln_docker::{
    DockerConfig,
    context::{Files, name_inside},
};
use reqwest::{Body, header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    time::{interval, sleep},
};

const OP: &str = "kiln build";
/// How often an upload is begun anew that broke.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);
/// How much of a file is read at once.
const PIECE_BYTES: usize = 256 << 10;
const DOCKERFILE_BYTES_MAX: u64 = 4 << 20;
/// How often it is drawn how far it is.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// What becomes of the files of a build.
pub(crate) struct Upload<'a> {
    pub(crate) server: &'a Server,
    pub(crate) show: Show,
    /// How many bytes a directory may have.
    pub(crate) context_max: Option<u64>,
    pub(crate) cancel: CancelToken,
}

/// What the server says of an upload.
#[derive(Deserialize)]
struct Taken {
    /// Under which name plans fetch it.
    source: String,
    digest: Digest,
}

/// An archive that can be sent, also once more.
enum Archive {
    Files(Files),
    File(PathBuf, u64),
}

/// How much went out, and what it hashes to.
#[derive(Default)]
struct Sent {
    bytes: AtomicU64,
    hash: Mutex<Sha256>,
}

impl Upload<'_> {
    /// Sends what is here, so that nothing is left that only this machine has.
    pub(super) async fn all(&self, chosen: Chosen) -> Result<Chosen> {
        let Chosen { recipe, ground, what } = chosen;
        let (recipe, archive) = match ground {
            here @ (Ground::Nothing | Ground::Source(_)) => {
                return Ok(Chosen { recipe, ground: here, what });
            }
            Ground::Archive(path) => {
                let bytes = path.metadata().map_err(|e| unreadable(&path, &e))?.len();
                (recipe, Archive::File(path, bytes))
            }
            Ground::Directory(root) => {
                let max = self.context_max.unwrap_or(DockerConfig::default().context_bytes_max);
                let cancel = self.cancel.clone();
                let work = move || walk(&root, recipe, max, &cancel);
                let walked = tokio::task::spawn_blocking(work).await;
                let walked =
                    walked.map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))?;
                walked.map(|(recipe, files)| (recipe, Archive::Files(files)))?
            }
        };
        let source = self.send(&archive).await?;
        Ok(Chosen { recipe, ground: Ground::Source(SourceSpec::new(source)), what })
    }

    /// Sends files; returns under which name plans fetch them.
    pub(crate) async fn files(&self, files: Files) -> Result<String> {
        self.send(&Archive::Files(files)).await
    }

    async fn send(&self, archive: &Archive) -> Result<String> {
        if self.show == Show::Plain {
            print::note(format!("sending the context: {}", archive.says()));
        }
        let mut attempt = 1;
        loop {
            let e = match self.once(archive).await {
                Ok(source) => return Ok(source),
                Err(e) => e,
            };
            if e.retry_status() != Status::Temporary || attempt == ATTEMPTS {
                return Err(e);
            }
            attempt += 1;
            self.server.steady.note(&format!("note: {}; sending again", e.message()));
            sleep(PAUSE).await;
        }
    }

    async fn once(&self, archive: &Archive) -> Result<String> {
        let sent = Arc::new(Sent::default());
        let body = Body::wrap_stream(archive.pieces(sent.clone(), self.cancel.clone()));
        let request = self.server.client.sending(&["contexts"], body);
        let request = request.header(header::CONTENT_TYPE, "application/x-tar");
        let sending = async {
            let response = self.server.client.send(OP, request).await?;
            self.server.client.json::<Taken>(OP, response).await
        };
        let taken = tokio::select! {
            taken = sending => taken,
            () = self.draw(archive, &sent) => unreachable!("it draws for ever"),
        };
        if self.show.moves() {
            // A terminal that went away is no reason to stop.
            let _ = Term::stderr().clear_line();
        }
        let taken = taken?;
        let digest = sent.digest();
        if taken.digest.to_string() != digest {
            let message = "the server has other bytes than those that were sent";
            return Err(Error::new(ErrorKind::Corrupt, OP, message)
                .with("sent", digest)
                .with("there", taken.digest));
        }
        Ok(taken.source)
    }

    /// Shows how far it is, until it is dropped.
    async fn draw(&self, archive: &Archive, sent: &Sent) {
        if !self.show.moves() {
            return std::future::pending().await;
        }
        let (term, mut tick) = (Term::stderr(), interval(DRAW_EVERY));
        loop {
            tick.tick().await;
            let done = text::bytes(sent.bytes.load(Ordering::Relaxed));
            let line = format!("sending the context: {done} of {}", archive.says());
            let _ = term.clear_line();
            let _ = term.write_str(&text::cut(&line, usize::from(term.size().1)));
        }
    }
}

impl Archive {
    fn says(&self) -> String {
        match self {
            Self::Files(files) => {
                format!("{} in {} entries", text::bytes(files.bytes()), files.len())
            }
            Self::File(_, bytes) => text::bytes(*bytes),
        }
    }

    fn pieces(
        &self,
        sent: Arc<Sent>,
        cancel: CancelToken,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        let pieces = match self {
            Self::Files(files) => {
                let from = files.clone().stream(cancel, |_| {});
                stream::unfold(from, |mut from| async {
                    let piece = from.recv().await?;
                    Some((piece, from))
                })
                .boxed()
            }
            Self::File(path, _) => of_file(path.clone()),
        };
        let count = move |piece: io::Result<Bytes>| piece.inspect(|piece| sent.take(piece));
        pieces.map(count).boxed()
    }
}

fn of_file(path: PathBuf) -> BoxStream<'static, io::Result<Bytes>> {
    let opened = async move { tokio::fs::File::open(path).await };
    let read = |mut file: tokio::fs::File| async {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        let n = file.read_buf(&mut piece).await?;
        Ok((n > 0).then(|| (piece.freeze(), file)))
    };
    stream::once(opened)
        .flat_map(move |file| match file {
            Ok(file) => stream::try_unfold(file, read).boxed(),
            Err(e) => stream::once(async { Err(e) }).boxed(),
        })
        .boxed()
}

impl Sent {
    fn take(&self, piece: &Bytes) {
        self.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        self.hash.lock().unwrap_or_else(PoisonError::into_inner).update(piece);
    }

    fn digest(&self) -> String {
        let hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner).clone();
        hash.finalize()
            .iter()
            .fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
    }
}

/// The files of a directory, as the builder would take them; a Dockerfile that is not among them
/// becomes part of the plan.
fn walk(
    root: &Path,
    recipe: Recipe,
    bytes_max: u64,
    cancel: &CancelToken,
) -> Result<(Recipe, Files)> {
    let (recipe, name) = match recipe {
        Recipe::Dockerfile { path } => {
            let path = path.unwrap_or_else(|| "Dockerfile".into());
            match name_inside(root, &path) {
                Some(name) => (Recipe::Dockerfile { path: Some(name.clone().into()) }, Some(name)),
                None if root.join(&path).exists() => {
                    (Recipe::Inline { text: read(&root.join(&path))? }, None)
                }
                None => {
                    let message = "there is no Dockerfile in the context";
                    return Err(Error::new(ErrorKind::NotFound, OP, message)
                        .with("looked for", root.join(&path).display())
                        .hint("Name it with `--file`, or build a directory that has one."));
                }
            }
        }
        recipe => (recipe, None),
    };
    let mut files = Files::of(root, name.as_deref(), bytes_max, cancel)?;
    // Whoever builds reads it again, and may not take another in its place.
    files.keep_own_ignore(name.as_deref().unwrap_or("Dockerfile"));
    Ok((recipe, files))
}

fn read(path: &Path) -> Result<String> {
    let failed = |e: io::Error| unreadable(path, &e);
    if path.metadata().map_err(failed)?.len() > DOCKERFILE_BYTES_MAX {
        return Err(Error::new(ErrorKind::Invalid, OP, "the Dockerfile is larger than 4 MiB")
            .with("path", path.display()));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unreadable(path: &Path, e: &io::Error) -> Error {
    Error::new(ErrorKind::Invalid, OP, "the build context cannot be read")
        .with("path", path.display())
        .source(e.to_string())
}
