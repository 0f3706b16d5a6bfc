//! From the arguments of `kiln build` to a plan.

use super::input::Input;
use crate::args::BuildArgs;
use kiln::{
    Attempts, BuildSpec, Context, Error, ErrorKind, ImageFrom, ImageRef, Op, Plan, Recipe, RelPath,
    Result, SecretRef, SourceSpec, Step, Value,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What is to be built, before it is known how it gets to where it is built.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) recipe: Recipe,
    pub(super) ground: Ground,
    /// What is built, for lists.
    pub(super) what: String,
}

/// Where the files of a build are.
#[derive(Clone, Debug)]
pub(super) enum Ground {
    /// There are none.
    Nothing,
    /// In an archive here.
    Archive(PathBuf),
    /// In a directory here.
    Directory(PathBuf),
    /// Elsewhere: they are fetched by whoever builds.
    Source(SourceSpec),
}

pub(super) fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "kiln build", message)
}

/// Reads from the arguments, and from what came on standard input if that was asked for, what is
/// to be built.
pub(super) fn choose(args: &BuildArgs, input: Option<Input>) -> Result<Chosen> {
    let mut what = args.context.clone();
    let mut recipe = match (&args.file, &input) {
        (_, Some(Input::Dockerfile(text))) => Recipe::Inline { text: text.clone() },
        (file, _) => Recipe::Dockerfile { path: file.clone() },
    };
    let ground = if args.context == "-" {
        match input {
            Some(Input::Archive(path)) => Ground::Archive(path),
            _ => Ground::Nothing,
        }
    } else if kiln_archive::is_archive(&args.context) && !Path::new(&args.context).is_dir() {
        Ground::Source(SourceSpec::new(&args.context))
    } else if kiln_git::url::is_git_url(&args.context) && !Path::new(&args.context).is_dir() {
        kiln_git::url::parse(&args.context).map_err(|e| usage(e.to_string()))?;
        let mut source = SourceSpec::new(&args.context);
        source.submodules = args.submodules;
        Ground::Source(source)
    } else {
        let path = directory(&args.context)?;
        if let Recipe::Dockerfile { path: Some(file) } = &mut recipe {
            *file = dockerfile(&path, file)?;
        }
        what = path.display().to_string();
        Ground::Directory(path)
    };
    Ok(Chosen { recipe, ground, what })
}

/// By what lists find the build.
pub(super) fn labels(args: &BuildArgs, chosen: &Chosen) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<_, _> = args.labels.iter().cloned().collect();
    labels.insert("kiln.what".into(), chosen.what.clone());
    if !args.tags.is_empty() {
        labels.insert("kiln.tags".into(), args.tags.join(" "));
    }
    labels
}

/// Makes a plan.
pub(super) fn plan(args: &BuildArgs, chosen: Chosen, secrets: Vec<SecretRef>) -> Result<Plan> {
    let tags = images(&args.tags)?;
    let mut plan = Plan::builder();
    let mut fetched = None;
    let context = match chosen.ground {
        Ground::Nothing => Context::Empty,
        Ground::Archive(path) => Context::Archive { path },
        Ground::Directory(path) => Context::Directory { path },
        Ground::Source(source) => {
            let path = RelPath::new("source").map_err(|e| usage(e.to_string()))?;
            let fetch = Op::Fetch { source, into: path.clone() };
            fetched = Some(plan.step(Step::new("fetch", fetch).attempts(Attempts::up_to(3))));
            Context::Workspace { path }
        }
    };
    let spec = BuildSpec {
        tags: tags.clone(),
        args: build_args(&args.build_args)?,
        labels: args.labels.iter().cloned().collect(),
        target: args.target.clone(),
        no_cache: args.no_cache,
        pull: args.pull,
        platform: args.platform.clone(),
        secrets: secrets.into_iter().map(|name| (name.to_string(), name)).collect(),
        ..BuildSpec::new(chosen.recipe).context(context)
    };
    let mut step = Step::build("build", spec).attempts(Attempts::up_to(2));
    step.needs.extend(fetched);
    let built = plan.step(step);
    if args.push {
        for (i, to) in tags.into_iter().enumerate() {
            let name = if i == 0 { "push".into() } else { format!("push-{}", i + 1) };
            let push = Op::Push { image: ImageFrom::Step(built), to, credentials: None };
            plan.step(Step::new(name, push).after(built).attempts(Attempts::up_to(3)));
        }
    }
    if let Some(limit) = args.timeout {
        plan.timeout(limit);
    }
    plan.finish().map_err(|e| usage(e.to_string()))
}

/// The names of the image, each once.
fn images(tags: &[String]) -> Result<Vec<ImageRef>> {
    let mut all: Vec<ImageRef> = Vec::new();
    for tag in tags {
        let image = image(tag)?;
        let same = |other: &ImageRef| {
            (other.name(), other.tag_or_latest()) == (image.name(), image.tag_or_latest())
        };
        if !all.iter().any(same) {
            all.push(image);
        }
    }
    Ok(all)
}

fn image(text: &str) -> Result<ImageRef> {
    let image = ImageRef::parse(text).map_err(|e| usage(e.to_string()))?;
    match image.digest() {
        Some(_) => Err(usage(format!("`{text}`: an image that is built has no digest yet"))),
        None => Ok(image),
    }
}

fn directory(text: &str) -> Result<PathBuf> {
    let path = std::path::absolute(text)
        .map_err(|e| usage(format!("`{text}` is not a path")).source(e.to_string()))?;
    if path.is_dir() {
        return Ok(path);
    }
    let error = usage(format!("there is no directory `{text}`"));
    Err(if path.is_file() {
        error.hint("That is a file: name the directory, and the file with --file.")
    } else if text.contains("://") {
        error.hint("The address of a repository ends with .git or has a #reference.")
    } else {
        error
    })
}

/// A Dockerfile is looked for from here, as other tools do, and else in the context.
fn dockerfile(context: &Path, file: &Path) -> Result<PathBuf> {
    let here = std::path::absolute(file)
        .map_err(|e| usage(format!("`{}` is not a path", file.display())).source(e.to_string()))?;
    Ok(match here.strip_prefix(context) {
        Ok(inside) => inside.to_owned(),
        Err(_) if context.join(file).is_file() => file.to_owned(),
        Err(_) => here,
    })
}

fn build_args(args: &[String]) -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for arg in args {
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), std::env::var(arg).ok()),
        };
        if name.is_empty() {
            return Err(usage(format!("`--build-arg {arg}`: write NAME=VALUE")));
        }
        // A name that the environment does not have is left to the Dockerfile's own default.
        if let Some(value) = value {
            all.insert(name.to_owned(), Value::Text(value));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_once_however_it_is_written() {
        let tags = ["app", "app:latest", "docker.io/library/app", "app:2"].map(String::from);
        let names: Vec<_> = images(&tags).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["app", "app:2"]);
    }

    #[test]
    fn an_argument_without_a_value_is_left_to_the_recipe() {
        let args = ["A=1=2".to_owned(), "KILN_TEST_NO_SUCH_VARIABLE".to_owned()];
        let read = build_args(&args).unwrap();
        assert_eq!(read.len(), 1);
        assert!(build_args(&["=x".to_owned()]).is_err());
    }
}
