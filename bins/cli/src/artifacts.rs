//! The files that a build keeps, here or with a server: `artifacts`.

use crate::{
    args::{ArtifactArgs, Exit},
    backend::Backend,
    print,
    screen::{Look, Paint},
    text,
};
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use kiln::{BuildId, Error, ErrorKind, RelPath, Result, port::ArtifactKey};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

const OP: &str = "kiln artifacts";

#[derive(Deserialize)]
struct Listed {
    artifacts: Vec<Artifact>,
}

#[derive(Deserialize, Serialize)]
struct Artifact {
    name: String,
    bytes: u64,
    /// `sha256:…`.
    digest: String,
}

/// An artifact as JSON lists it.
#[derive(Serialize)]
struct Line<'a> {
    build: &'a BuildId,
    #[serde(flatten)]
    artifact: &'a Artifact,
    /// Where it was written, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a Path>,
}

pub(crate) async fn artifacts(from: &Backend, args: ArtifactArgs) -> Result<Exit> {
    let build = from.find(&args.id).await?.build;
    let mut all = listed(from, &build).await?;
    let Some(name) = args.name else {
        list(&build, &all, args.json);
        return Ok(Exit::Fine);
    };
    let Some(at) = all.iter().position(|artifact| artifact.name == name) else {
        let names: Vec<_> = all.iter().map(|artifact| artifact.name.as_str()).collect();
        return Err(Error::new(ErrorKind::NotFound, OP, "the build has no such artifact")
            .with("artifact", &name)
            .with("there are", names.join(", ")));
    };
    let artifact = all.swap_remove(at);
    match args.output.as_deref() {
        Some(out) if out == Path::new("-") => {
            take(from, &build, &artifact, &mut io::stdout().lock()).await?;
        }
        out => {
            let file = out.map_or_else(|| own_name(&name), |out| Ok(out.to_owned()))?;
            save(from, &build, &artifact, &file).await?;
            if args.json {
                let file = Some(file.as_path());
                print::json("artifact", Line { build: &build, artifact: &artifact, file });
            } else {
                let bytes = text::bytes(artifact.bytes);
                print::note(format!("wrote {bytes} to {}", file.display()));
            }
        }
    }
    Ok(Exit::Fine)
}

/// What a build keeps.
async fn listed(from: &Backend, build: &BuildId) -> Result<Vec<Artifact>> {
    match from {
        Backend::Here(home) => {
            let all = home.engine.tools().artifacts.list(build).await?.into_iter();
            let own = format!("{build}/");
            let name = |key: String| key.strip_prefix(&own).map(str::to_owned).unwrap_or(key);
            let artifact = |kept: kiln::Artifact| Artifact {
                name: name(kept.key),
                bytes: kept.bytes,
                digest: kept.digest.to_string(),
            };
            Ok(all.map(artifact).collect())
        }
        Backend::There(server) => {
            let path = ["builds", build.as_str(), "artifacts"];
            let work = || server.client.get::<Listed>(OP, &path, &[]);
            Ok(server.steady.again(work).await?.artifacts)
        }
    }
}

/// The bytes of an artifact.
async fn open(
    from: &Backend,
    build: &BuildId,
    name: &str,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    match from {
        Backend::Here(home) => {
            let name = RelPath::new(name)
                .map_err(|e| Error::new(ErrorKind::Invalid, OP, e.to_string()))?;
            let key = ArtifactKey { build: build.clone(), name };
            home.engine.tools().artifacts.get(&key).await
        }
        Backend::There(server) => {
            let mut path = vec!["builds", build.as_str(), "artifacts"];
            path.extend(name.split('/'));
            let answer = server.client.send(OP, server.client.request(Method::GET, &path)).await?;
            let client = server.client.clone();
            Ok(answer.bytes_stream().map(move |p| p.map_err(|e| client.unreachable(OP, e))).boxed())
        }
    }
}

fn list(build: &BuildId, all: &[Artifact], json: bool) {
    if json {
        for artifact in all {
            print::json("artifact", Line { build, artifact, file: None });
        }
    } else if all.is_empty() {
        print::note("the build keeps no artifacts");
    } else {
        let look = Look::of(&io::stdout());
        for artifact in all {
            print::result(format!(
                "{:>9}  {}  {}",
                text::bytes(artifact.bytes),
                text::plain(&artifact.name),
                look.paint(Paint::Dim, &text::plain(&artifact.digest)),
            ));
        }
    }
}

/// The last part of a name, for a file here.
fn own_name(name: &str) -> Result<PathBuf> {
    let last = name.rsplit('/').next().unwrap_or_default();
    if matches!(last, "" | "." | "..") {
        let error = Error::new(ErrorKind::Invalid, OP, "the artifact has no name for a file");
        return Err(error.hint("Name the file with --output."));
    }
    Ok(last.into())
}

/// Writes an artifact into a file, which is there whole or not at all.
async fn save(from: &Backend, build: &BuildId, artifact: &Artifact, file: &Path) -> Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |e: io::Error| unwritable(e).with("file", file.display());
    let work = || async {
        let mut part = NamedTempFile::new_in(dir).map_err(failed)?;
        take(from, build, artifact, &mut part).await?;
        part.as_file().sync_all().map_err(failed)?;
        Ok(part)
    };
    let part = match from {
        Backend::Here(_) => work().await?,
        Backend::There(server) => server.steady.again(work).await?,
    };
    part.persist(file).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Hands on the bytes of an artifact, and makes sure that they are those that were kept.
async fn take(
    from: &Backend,
    build: &BuildId,
    artifact: &Artifact,
    to: &mut impl Write,
) -> Result<()> {
    let mut pieces = open(from, build, &artifact.name).await?;
    let mut hash = Sha256::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        hash.update(&piece);
        to.write_all(&piece).map_err(unwritable)?;
    }
    to.flush().map_err(unwritable)?;
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if artifact.digest == format!("sha256:{hex}") {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, OP, "other bytes came than were kept")
        .with("artifact", &artifact.name)
        .with("digest", format!("sha256:{hex}"))
        .with("expected", &artifact.digest))
}

fn unwritable(e: io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::StorageFull => ErrorKind::Exhausted,
        _ => ErrorKind::Unexpected,
    };
    Error::new(kind, OP, "the artifact cannot be written").source(e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_the_last_part_and_never_elsewhere() {
        assert_eq!(own_name("out/app.tar").unwrap(), Path::new("app.tar"));
        for bad in ["out/", "..", "a/..", "", "."] {
            assert!(own_name(bad).is_err(), "{bad}");
        }
    }
}
