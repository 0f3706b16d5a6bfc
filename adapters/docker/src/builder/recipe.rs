//! From a recipe and a context to the archive that the engine takes.

use crate::context::{Files, name_inside, unreadable};
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use kiln::{
    BuildSpec, Context, Error, ErrorKind, ImageRef, Recipe, Result, StepCx, StepLog,
    port::{Progress, ProgressUnit},
};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tokio_stream::wrappers::ReceiverStream;

const OP: &str = "Builder::build";
/// The name under which a Dockerfile is sent that is not in the context.
const SENT_NAME: &str = ".kiln.Dockerfile";
const DOCKERFILE_BYTES_MAX: u64 = 4 << 20;

/// What is sent to the engine.
pub(super) struct Prepared {
    pub(super) dockerfile: String,
    pub(super) registries: Vec<String>,
    pub(super) body: BoxStream<'static, io::Result<Bytes>>,
    pub(super) trouble: Trouble,
}

/// Why the archive broke off, which the engine cannot know.
#[derive(Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<Error>>>);

impl Trouble {
    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, e: &io::Error) {
        let error = Error::new(ErrorKind::Invalid, OP, "the build context cannot be sent")
            .source(e.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// Reads the recipe, walks the context and begins to write the archive.
pub(super) async fn prepare(cx: &StepCx, spec: &BuildSpec, bytes_max: u64) -> Result<Prepared> {
    if let Context::Archive { path } = &spec.context {
        return archive(spec, path.clone()).await;
    }
    let (recipe, context, workspace) =
        (spec.recipe.clone(), spec.context.clone(), cx.workspace.clone());
    let work = move || files(&recipe, &context, &workspace, bytes_max);
    let (files, dockerfile, text) = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))??;
    let trouble = Trouble::default();
    let noted = trouble.clone();
    let told = tell(cx.log.clone(), files.bytes());
    let body = ReceiverStream::new(files.stream(cx.cancel.clone(), told))
        .inspect(move |piece| {
            if let Err(e) = piece {
                noted.note(e);
            }
        })
        .boxed();
    Ok(Prepared { dockerfile, registries: registries(&text), body, trouble })
}

fn tell(log: StepLog, total: u64) -> impl FnMut(u64) + Send + 'static {
    let mut done = 0;
    move |n| {
        done += n;
        log.progress(Progress {
            item: "context".into(),
            action: "Sending".into(),
            done,
            total: Some(total),
            unit: ProgressUnit::Bytes,
        });
    }
}

fn files(
    recipe: &Recipe,
    context: &Context,
    workspace: &Path,
    bytes_max: u64,
) -> Result<(Files, String, String)> {
    let (root, ours) = match context {
        Context::Workspace { path } => (Some(below(workspace, &path.below(workspace))?), false),
        Context::Directory { path } => (Some(path.clone()), true),
        _ => (None, true),
    };
    let (name, text, inside) = match (recipe, &root) {
        (Recipe::Inline { text }, _) => (SENT_NAME.to_owned(), text.clone(), false),
        (Recipe::Dockerfile { path }, Some(root)) => {
            let path = path.clone().unwrap_or_else(|| "Dockerfile".into());
            match name_inside(root, &path) {
                Some(name) => {
                    let text = read(&root.join(&name))?;
                    (name, text, true)
                }
                None if ours && root.join(&path).exists() => {
                    (SENT_NAME.to_owned(), read(&root.join(&path))?, false)
                }
                None if !root.is_dir() => {
                    return Err(Error::new(
                        ErrorKind::NotFound,
                        OP,
                        "the context is not a directory",
                    )
                    .with("path", root.display()));
                }
                None => return Err(no_dockerfile(root, &path)),
            }
        }
        (Recipe::Dockerfile { .. }, None) => {
            return Err(Error::new(
                ErrorKind::Invalid,
                OP,
                "there is no context to find a Dockerfile in",
            ));
        }
        _ => return Err(Error::new(ErrorKind::Unsupported, OP, "this is no Dockerfile")),
    };
    if text.trim().is_empty() {
        return Err(Error::new(ErrorKind::Invalid, OP, "the Dockerfile is empty")
            .hint("It needs at least `FROM image`."));
    }
    let mut files = match &root {
        None => Files::default(),
        Some(root) => Files::of(root, inside.then_some(&*name), bytes_max)?,
    };
    if !inside {
        files.add(&name, text.as_bytes());
    }
    Ok((files, name, text))
}

/// A directory below the workspace, also after links are followed.
fn below(workspace: &Path, path: &Path) -> Result<PathBuf> {
    let root = workspace.canonicalize().map_err(|e| unreadable(workspace, &e))?;
    let real = path.canonicalize().map_err(|e| unreadable(path, &e))?;
    if !real.starts_with(&root) {
        return Err(Error::new(
            ErrorKind::Denied,
            OP,
            "the context leads out of the source by a link",
        ));
    }
    Ok(real)
}

fn read(path: &Path) -> Result<String> {
    let size = path.metadata().map_err(|e| unreadable(path, &e))?.len();
    if size > DOCKERFILE_BYTES_MAX {
        return Err(Error::new(ErrorKind::Invalid, OP, "the Dockerfile is larger than 4 MiB")
            .with("path", path.display()));
    }
    let bytes = std::fs::read(path).map_err(|e| unreadable(path, &e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn no_dockerfile(root: &Path, path: &Path) -> Error {
    let error = Error::new(ErrorKind::NotFound, OP, "there is no Dockerfile in the context")
        .with("looked for", root.join(path).display());
    let names = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut near: Vec<_> = names
        .map(|n| n.file_name().to_string_lossy().into_owned())
        .filter(|n| n.to_lowercase().contains("dockerfile") && !n.ends_with(".dockerignore"))
        .collect();
    near.sort();
    match near.as_slice() {
        [] => error.hint("Name it with `--file`, or build a directory that has one."),
        near => error.hint(format!("There is {}: name it with `--file`.", near.join(", "))),
    }
}

/// The registries of base images, to offer their logins.
fn registries(dockerfile: &str) -> Vec<String> {
    let bases = dockerfile.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|w| w.eq_ignore_ascii_case("from"))?;
        ImageRef::parse(words.find(|w| !w.starts_with("--"))?).ok()
    });
    let all: BTreeSet<_> = bases.map(|image| image.registry().to_owned()).collect();
    all.into_iter().collect()
}

async fn archive(spec: &BuildSpec, path: PathBuf) -> Result<Prepared> {
    let Recipe::Dockerfile { path: dockerfile } = &spec.recipe else {
        return Err(Error::new(ErrorKind::Unsupported, OP, "an archive brings its own Dockerfile"));
    };
    let name = dockerfile.as_deref().unwrap_or(Path::new("Dockerfile"));
    let file = tokio::fs::File::open(&path).await.map_err(|e| unreadable(&path, &e))?;
    let trouble = Trouble::default();
    let body = futures::stream::try_unfold(file, |mut file| async move {
        use tokio::io::AsyncReadExt;
        let mut piece = vec![0; 256 * 1024];
        let n = file.read(&mut piece).await?;
        piece.truncate(n);
        Ok((n > 0).then(|| (Bytes::from(piece), file)))
    });
    Ok(Prepared {
        dockerfile: name.to_string_lossy().into_owned(),
        registries: Vec::new(),
        body: body.boxed(),
        trouble,
    })
}
