//! From a recipe and a context to what the engine is sent.

use crate::context::{Files, name_inside, unreadable};
use kiln::{BuildSpec, CancelToken, Context, Error, ErrorKind, ImageRef, Recipe, Result, StepCx};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

const OP: &str = super::OP;
/// The name under which a Dockerfile is sent that is not in the context.
const SENT_NAME: &str = ".kiln.Dockerfile";
const DOCKERFILE_BYTES_MAX: u64 = 4 << 20;

/// What the engine is to be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) dockerfile: Dockerfile,
    pub(super) context: Contents,
}

/// The Dockerfile of a build.
#[derive(Debug)]
pub(super) struct Dockerfile {
    /// Its name in the context, or the one under which it is sent.
    pub(super) name: String,
    /// The name that people know it by.
    pub(super) shown: String,
    /// Its text; not known while it is in an archive.
    pub(super) text: Option<String>,
    /// Whether it is in the context already.
    pub(super) inside: bool,
}

/// The files of a build.
#[derive(Debug)]
pub(super) enum Contents {
    /// Those of a directory, by its path on this host; of none, there are none.
    Files(Arc<Files>, Option<PathBuf>),
    /// Those in an archive.
    Archive(tokio::fs::File),
}

/// Reads the recipe and walks the context. Nothing is sent yet.
pub(super) async fn prepare(cx: &StepCx, spec: &BuildSpec, bytes_max: u64) -> Result<Prepared> {
    if let Context::Archive { path } = &spec.context {
        return archive(spec, path.clone()).await;
    }
    let (recipe, context, workspace, cancel) =
        (spec.recipe.clone(), spec.context.clone(), cx.workspace.clone(), cx.cancel.clone());
    let work = move || files(&recipe, &context, &workspace, bytes_max, &cancel);
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))?
}

fn files(
    recipe: &Recipe,
    context: &Context,
    workspace: &Path,
    bytes_max: u64,
    cancel: &CancelToken,
) -> Result<Prepared> {
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
    let files = match &root {
        None => Files::default(),
        Some(root) => Files::of(root, inside.then_some(&*name), bytes_max, cancel)?,
    };
    let shown = match recipe {
        _ if inside => name.clone(),
        Recipe::Dockerfile { path: Some(path) } => path.display().to_string(),
        _ => "Dockerfile".to_owned(),
    };
    let dockerfile = Dockerfile { name, shown, text: Some(text), inside };
    Ok(Prepared { dockerfile, context: Contents::Files(Arc::new(files), root) })
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

impl Dockerfile {
    /// Its name without the directories it is in.
    pub(super) fn base_name(&self) -> &str {
        self.shown.rsplit('/').next().unwrap_or(&self.shown)
    }

    /// The registries of base images, to offer their logins.
    pub(super) fn registries(&self) -> BTreeSet<String> {
        let lines = self.text.iter().flat_map(|text| text.lines());
        let bases = lines.filter_map(|line| {
            let mut words = line.split_whitespace();
            words.next().filter(|w| w.eq_ignore_ascii_case("from"))?;
            ImageRef::parse(words.find(|w| !w.starts_with("--"))?).ok()
        });
        bases.map(|image| image.registry().to_owned()).collect()
    }
}

async fn archive(spec: &BuildSpec, path: PathBuf) -> Result<Prepared> {
    let Recipe::Dockerfile { path: dockerfile } = &spec.recipe else {
        return Err(Error::new(ErrorKind::Unsupported, OP, "an archive brings its own Dockerfile"));
    };
    let name = dockerfile.as_deref().unwrap_or(Path::new("Dockerfile"));
    let file = tokio::fs::File::open(&path).await.map_err(|e| unreadable(&path, &e))?;
    let name = name.to_string_lossy().into_owned();
    let dockerfile = Dockerfile { shown: name.clone(), name, text: None, inside: true };
    Ok(Prepared { dockerfile, context: Contents::Archive(file) })
}
