//! What a box shares with the host.

use super::script::DIR;
use crate::labels::Place;
use bollard::models::{Mount as DockerMount, MountType, MountVolumeOptions};
use kiln::{BoxSpec, Error, ErrorKind, Mount, MountSource, Result, StepCx};
use std::{io, path::PathBuf};

const OP: &str = "Runtime::start";

/// All mounts of a box: those of the plan, and the volume that output of commands goes to.
pub(super) async fn of(cx: &StepCx, place: &Place, spec: &BoxSpec) -> Result<Vec<DockerMount>> {
    let mut all = vec![DockerMount {
        target: Some(DIR.to_owned()),
        typ: Some(MountType::VOLUME),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            labels: Some(place.labels(None)),
            ..MountVolumeOptions::default()
        }),
        ..DockerMount::default()
    }];
    for mount in &spec.mounts {
        check_target(&mount.target)?;
        let source = source(cx, mount).await?;
        let source = source.to_str().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, OP, "the path of a mount is not UTF-8")
                .with("target", &mount.target)
        })?;
        all.push(DockerMount {
            target: Some(mount.target.clone()),
            source: Some(source.to_owned()),
            typ: Some(MountType::BIND),
            read_only: Some(mount.read_only),
            ..DockerMount::default()
        });
    }
    Ok(all)
}

fn check_target(target: &str) -> Result<()> {
    let parts: Vec<_> = target.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    let hides_ours = ["dev/.kiln", "dev"].contains(&parts.join("/").as_str())
        || parts.starts_with(&["dev", ".kiln"]);
    if !target.starts_with('/') || parts.is_empty() || parts.contains(&"..") || hides_ours {
        return Err(Error::new(ErrorKind::Invalid, OP, "nothing can be mounted there")
            .with("target", target)
            .hint("Name an absolute path below `/`, without `..`, and not `/dev`."));
    }
    Ok(())
}

async fn source(cx: &StepCx, mount: &Mount) -> Result<PathBuf> {
    let path = match &mount.source {
        MountSource::Directory(path) => return Ok(path.clone()),
        MountSource::Workspace(path) => path.below(&cx.workspace),
    };
    let unusable = |e: io::Error| {
        Error::new(ErrorKind::Unexpected, OP, "a directory of the workspace cannot be shared")
            .with("path", path.display())
            .source(e.to_string())
    };
    // What was fetched may hold a link that leads out of the workspace, to the host's own files.
    let root = tokio::fs::canonicalize(&cx.workspace).await.map_err(unusable)?;
    let mut real = root.clone();
    for part in path.strip_prefix(&cx.workspace).unwrap_or(&path).components() {
        real.push(part);
        match tokio::fs::create_dir(&real).await {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(e)),
            _ => real = tokio::fs::canonicalize(&real).await.map_err(unusable)?,
        }
        if !real.starts_with(&root) {
            return Err(Error::new(
                ErrorKind::Invalid,
                OP,
                "a link in the workspace leads out of it, and cannot be shared with a box",
            )
            .with("path", path.display()));
        }
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::RelPath;
    use kiln_conformance::step::TestStep;

    #[test]
    fn targets_are_checked() {
        for bad in ["a", "", "/", "/..", "/a/../b", "/dev", "//dev/", "/dev/.kiln", "/dev/.kiln/x"]
        {
            assert!(check_target(bad).is_err(), "{bad}");
        }
        for good in ["/a", "/dev/shm", "/a/b.c"] {
            assert!(check_target(good).is_ok(), "{good}");
        }
    }

    #[tokio::test]
    async fn a_link_never_leads_out_of_the_workspace() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        std::fs::create_dir_all(work.join("in")).unwrap();
        std::fs::create_dir(dir.path().join("out")).unwrap();
        std::os::unix::fs::symlink("../out", work.join("bad")).unwrap();
        std::os::unix::fs::symlink("in", work.join("good")).unwrap();
        let step = TestStep::new().workspace(&work);
        let from = async |path: &str| {
            let source = MountSource::Workspace(RelPath::new(path).unwrap());
            source_of(step.cx(), source).await
        };
        assert_eq!(from("bad").await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(from("bad/new").await.unwrap_err().kind(), ErrorKind::Invalid);
        assert!(!dir.path().join("out/new").exists());
        let root = std::fs::canonicalize(&work).unwrap();
        assert_eq!(from("good/new").await.unwrap(), root.join("in/new"));
        assert_eq!(from("").await.unwrap(), root);
    }

    async fn source_of(cx: &StepCx, from: MountSource) -> Result<PathBuf> {
        source(cx, &Mount { source: from, target: "/x".into(), read_only: false }).await
    }
}
