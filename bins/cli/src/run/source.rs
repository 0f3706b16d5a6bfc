//! From a directory to an archive: what of it goes to where the pipeline runs.

use super::wrong;
use crate::{
    build::{Show, Upload},
    home::Home,
    remote::Server,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use kiln::{
    BuildId, CancelToken, Error, ErrorKind, RelPath, Result, SourceSpec, Timestamp,
    port::{ArtifactKey, ByteStream},
};
use kiln_docker::{DockerConfig, context::Files};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The file that says what is left out, where none is named.
const DEFAULT_IGNORE: &str = ".werckerignore";
/// What the original keeps in the directory itself, and its last version before that.
const NEVER: &str = ".wercker\n_builds\n_cache\n_containers\n_projects\n_steps\n";
/// The artifact that an upload is.
const UPLOAD: &str = "context.tar";

/// A directory to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) root: PathBuf,
    /// The file that says what is left out, if one was named.
    pub(crate) ignore: Option<PathBuf>,
    pub(crate) bytes_max: Option<u64>,
}

impl Directory {
    /// What of it is sent.
    pub(crate) async fn files(self, cancel: CancelToken) -> Result<Files> {
        let work = move || {
            let max = self.bytes_max.unwrap_or(DockerConfig::default().context_bytes_max);
            Files::but(&self.root, &self.left_out()?, max, &cancel)
        };
        let walked = tokio::task::spawn_blocking(work).await;
        walked.map_err(|e| Error::new(ErrorKind::Unexpected, "kiln run", e.to_string()))?
    }

    /// What is left out, as `.dockerignore` has it.
    fn left_out(&self) -> Result<String> {
        let (path, named) = match &self.ignore {
            Some(path) => (self.root.join(path), true),
            None => (self.root.join(DEFAULT_IGNORE), false),
        };
        match fs::read(&path) {
            Ok(text) => Ok(format!("{NEVER}{}", translated(&String::from_utf8_lossy(&text)))),
            Err(e) if e.kind() == io::ErrorKind::NotFound && !named => Ok(NEVER.into()),
            Err(e) => Err(wrong("the file that says what is left out cannot be read")
                .with("file", path.display())
                .source(e)),
        }
    }
}

/// From the syntax of `.gitignore` to that of `.dockerignore`: a name without a slash is meant
/// wherever it is.
fn translated(text: &str) -> String {
    let mut out = String::new();
    for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (not, pattern) = match line.strip_prefix('!') {
            Some(pattern) => ("!", pattern),
            None => ("", line),
        };
        let pattern = pattern.trim_end_matches('/');
        let pattern = match pattern.strip_prefix('/') {
            Some(rooted) => rooted.to_owned(),
            None if pattern.contains('/') || pattern.is_empty() => pattern.to_owned(),
            None => format!("**/{pattern}"),
        };
        if !pattern.is_empty() {
            out.push_str(&format!("{not}{pattern}\n"));
        }
    }
    out
}

/// What a build fetches that only this machine has: under which id it is among the artifacts.
fn kept_as(what: &str, build: &BuildId) -> Result<ArtifactKey> {
    let build = BuildId::new(format!("{what}-{build}"));
    let name = RelPath::new(UPLOAD).map_err(|e| wrong(e.to_string()))?;
    Ok(ArtifactKey { build: build.map_err(|e| wrong(e.to_string()))?, name })
}

/// Keeps the files of a directory for a build of this machine.
pub(crate) async fn keep(
    home: &Home,
    build: &BuildId,
    files: Files,
    cancel: CancelToken,
) -> Result<SourceSpec> {
    let pieces = stream::unfold(files.stream(cancel, |_| {}), |mut from| async {
        let piece = from.recv().await?;
        Some((piece.map_err(|e| wrong("the directory cannot be read").source(e)), from))
    });
    put(home, "source", build, pieces.boxed()).await
}

async fn put(home: &Home, what: &str, build: &BuildId, body: ByteStream) -> Result<SourceSpec> {
    let key = kept_as(what, build)?;
    home.engine.tools().artifacts.put(&key, body).await?;
    Ok(SourceSpec::new(format!("upload:{}", key.build)))
}

/// Keeps an artifact of an earlier build for another one of this machine, so that whatever becomes
/// of the first, the second has it.
pub(crate) async fn keep_input(
    home: &Home,
    build: &BuildId,
    of: &BuildId,
    artifact: &RelPath,
) -> Result<SourceSpec> {
    let key = ArtifactKey { build: of.clone(), name: artifact.clone() };
    let body = home.engine.tools().artifacts.get(&key).await?;
    put(home, "input", build, body).await
}

/// Forgets what was kept for a build that is over, or never was.
pub(crate) async fn forget(home: &Home, build: &BuildId) -> Result<()> {
    for what in ["source", "input"] {
        home.engine.tools().artifacts.forget(&kept_as(what, build)?.build).await?;
    }
    Ok(())
}

/// Sends the files of a directory to a server.
pub(crate) async fn send(
    server: &Server,
    show: Show,
    files: Files,
    cancel: CancelToken,
) -> Result<SourceSpec> {
    let upload = Upload { server, show, context_max: None, cancel };
    Ok(SourceSpec::new(upload.files(files).await?))
}

/// Sends what comes from elsewhere to a server.
pub(crate) async fn send_on(
    server: &Server,
    body: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
) -> Result<SourceSpec> {
    let request = server.client.sending(&["contexts"], reqwest::Body::wrap_stream(body));
    let request = request.header(reqwest::header::CONTENT_TYPE, "application/x-tar");
    let answer = server.client.send("kiln run", request).await?;
    let taken: serde_json::Value = server.client.json("kiln run", answer).await?;
    let source = taken.get("source").and_then(serde_json::Value::as_str);
    source.map(SourceSpec::new).ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, "kiln run", "the server does not say what it took")
    })
}

/// The path of a file inside of a directory.
pub(crate) fn inside(root: &Path, file: &Path) -> Result<RelPath> {
    let outside = || {
        wrong("the file is not in the directory")
            .with("file", file.display())
            .with("directory", root.display())
    };
    let path = match file.is_absolute() {
        true => file.strip_prefix(root).map_err(|_| outside())?,
        false => file,
    };
    let text = path.to_str().ok_or_else(outside)?;
    RelPath::new(text.strip_prefix("./").unwrap_or(text)).map_err(|_| outside())
}

/// The present moment, in seconds since 1970.
pub(crate) fn seconds(now: Timestamp) -> u64 {
    now.0 / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_read_as_git_reads_it() {
        let text = "# x\n\n*.log\n/out/\na/b\nnode_modules/\n!keep.log\n!/top\n/\n";
        let docker = "**/*.log\nout\na/b\n**/node_modules\n!**/keep.log\n!top\n";
        assert_eq!(translated(text), docker);
    }

    #[tokio::test]
    async fn a_directory_is_read_without_what_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for name in
            [".wercker/x", "src/a", "src/a.log", "deep/src/b.log", ".git/HEAD", "wercker.yml"]
        {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), name).unwrap();
        }
        let files = |ignore: Option<&str>| {
            let ignore = ignore.map(PathBuf::from);
            let all = Directory { root: root.to_owned(), ignore, bytes_max: None };
            all.files(CancelToken::new())
        };
        // Directories and files: all but the first.
        assert_eq!(files(None).await.unwrap().len(), 9);
        fs::write(root.join(".werckerignore"), "*.log\n").unwrap();
        assert_eq!(files(None).await.unwrap().len(), 8);
        fs::write(root.join("other"), "/src\n.git\n").unwrap();
        assert_eq!(files(Some("other")).await.unwrap().len(), 6);
        let e = files(Some("none")).await.unwrap_err();
        assert!(e.to_string().contains("none"), "{e}");
    }

    #[test]
    fn a_file_is_named_below_its_directory() {
        let root = Path::new("/a/b");
        let name = |file: &str| inside(root, Path::new(file)).map(|path| path.to_string());
        assert_eq!(name("c/x.yml").unwrap(), "c/x.yml");
        assert_eq!(name("./x.yml").unwrap(), "x.yml");
        assert_eq!(name("/a/b/x.yml").unwrap(), "x.yml");
        assert!(name("/a/x.yml").is_err() && name("../x.yml").is_err());
    }
}
