//! From the arguments of `kiln build` to a plan.

use crate::args::BuildArgs;
use kiln::{
    Attempts, BuildSpec, Context, Error, ErrorKind, ImageFrom, ImageRef, Op, Plan, Recipe, RelPath,
    Result, SourceSpec, Step, Value,
};
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The longest Dockerfile that is read from standard input.
const DOCKERFILE_BYTES_MAX: u64 = 4 << 20;

/// A plan, and what belongs to it.
pub(super) struct Planned {
    pub(super) plan: Plan,
    /// What is built, for lists.
    pub(super) what: String,
    /// The archive that came on standard input.
    pub(super) archive: Option<PathBuf>,
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "kiln build", message)
}

pub(super) fn plan(args: &BuildArgs, archive: &Path) -> Result<Planned> {
    let tags = args.tags.iter().map(|t| image(t)).collect::<Result<Vec<_>>>()?;
    let mut plan = Plan::builder();
    let (mut what, mut kept) = (args.context.clone(), None);
    let mut fetched = None;
    let mut recipe = Recipe::Dockerfile { path: args.file.clone() };
    let context = if args.context == "-" {
        match standard_input(archive)? {
            Input::Dockerfile(text) => {
                if args.file.is_some() {
                    return Err(usage("--file has no place beside a Dockerfile on standard input"));
                }
                recipe = Recipe::Inline { text };
                Context::Empty
            }
            Input::Archive => {
                kept = Some(archive.to_owned());
                Context::Archive { path: archive.to_owned() }
            }
        }
    } else if kiln_git::url::is_git_url(&args.context) && !Path::new(&args.context).is_dir() {
        kiln_git::url::parse(&args.context).map_err(|e| usage(e.to_string()))?;
        let mut source = SourceSpec::new(&args.context);
        source.submodules = args.submodules;
        let fetch =
            Op::Fetch { source, into: RelPath::new("source").map_err(|e| usage(e.to_string()))? };
        fetched = Some(plan.step(Step::new("fetch", fetch).attempts(Attempts::up_to(3))));
        Context::Workspace { path: RelPath::new("source").map_err(|e| usage(e.to_string()))? }
    } else {
        let path = directory(&args.context)?;
        if let Some(file) = &args.file {
            recipe = Recipe::Dockerfile { path: Some(dockerfile(&path, file)?) };
        }
        what = path.display().to_string();
        Context::Directory { path }
    };
    let spec = BuildSpec {
        tags: tags.clone(),
        args: build_args(&args.build_args)?,
        labels: labels(&args.labels)?,
        target: args.target.clone(),
        no_cache: args.no_cache,
        pull: args.pull,
        platform: args.platform.clone(),
        ..BuildSpec::new(recipe).context(context)
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
    let plan = plan.finish().map_err(|e| usage(e.to_string()))?;
    Ok(Planned { plan, what, archive: kept })
}

fn image(text: &str) -> Result<ImageRef> {
    let image = ImageRef::parse(text).map_err(|e| {
        let error = usage(e.to_string());
        match e.suggestion {
            Some(meant) => error.hint(format!("Did you mean `{meant}`?")),
            None => error,
        }
    })?;
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

fn labels(labels: &[String]) -> Result<BTreeMap<String, String>> {
    let read = |label: &String| match label.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(usage(format!("`--label {label}`: write NAME=VALUE"))),
    };
    labels.iter().map(read).collect()
}

enum Input {
    Dockerfile(String),
    Archive,
}

fn standard_input(archive: &Path) -> Result<Input> {
    let wrong = |e: std::io::Error| {
        Error::new(ErrorKind::Unexpected, "kiln build", "standard input cannot be taken in")
            .source(e.to_string())
    };
    let mut input = std::io::stdin().lock();
    let mut head = Vec::new();
    (&mut input).take(512).read_to_end(&mut head).map_err(wrong)?;
    if head.is_empty() {
        return Err(usage("standard input is empty; pipe a Dockerfile or a tar archive into it"));
    }
    if is_archive(&head) {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(archive)
            .map_err(wrong)?;
        let copied = file.write_all(&head).and_then(|()| std::io::copy(&mut input, &mut file));
        if let Err(e) = copied {
            let _ = std::fs::remove_file(archive);
            return Err(wrong(e));
        }
        return Ok(Input::Archive);
    }
    input.take(DOCKERFILE_BYTES_MAX).read_to_end(&mut head).map_err(wrong)?;
    if head.len() as u64 > DOCKERFILE_BYTES_MAX {
        return Err(usage("the Dockerfile on standard input is larger than 4 MiB"));
    }
    String::from_utf8(head)
        .map(Input::Dockerfile)
        .map_err(|_| usage("standard input is neither a Dockerfile nor a tar archive"))
}

/// Whether these are the first bytes of a tar archive, plain or compressed.
fn is_archive(head: &[u8]) -> bool {
    const COMPRESSED: [&[u8]; 4] =
        [&[0x1f, 0x8b], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z'], &[0x28, 0xb5, 0x2f, 0xfd]];
    head.get(257..262) == Some(b"ustar") || COMPRESSED.iter().any(|magic| head.starts_with(magic))
}
