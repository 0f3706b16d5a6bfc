//! The adapters of this crate keep the promises of their ports.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

use kiln_conformance::Fresh;
use kiln_files::{FileArtifacts, FileLogs, FileWorkspaces};
use std::sync::Arc;

mod log {
    use super::*;

    fn fresh() -> Fresh<FileLogs> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let open = move || Arc::new(FileLogs::open(&path).unwrap());
        Fresh::new(open()).reopen(move || std::future::ready(open())).keep(dir)
    }
    kiln_conformance::log_suite!(fresh());
}

mod artifacts {
    use super::*;

    fn fresh() -> Fresh<FileArtifacts> {
        let dir = tempfile::tempdir().unwrap();
        Fresh::new(Arc::new(FileArtifacts::open(dir.path()).unwrap())).keep(dir)
    }
    kiln_conformance::artifacts_suite!(fresh());
}

mod workspaces {
    use super::*;

    #[test]
    fn a_link_that_leads_out_is_denied_and_removal_follows_none() {
        kiln_conformance::run("workspaces", async {
            use kiln::{BuildId, ErrorKind, RelPath, port::Workspaces};
            let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            std::fs::write(out.path().join("f"), "x").unwrap();
            let spaces = FileWorkspaces::open(dir.path()).unwrap();
            let build = BuildId::new("b").unwrap();
            let root = spaces.prepare(&build).await.unwrap();
            std::os::unix::fs::symlink(out.path(), root.join("link")).unwrap();
            let Err(e) = spaces.read(&build, &RelPath::new("link/f").unwrap()).await else {
                panic!("a link led out")
            };
            assert_eq!(e.kind(), ErrorKind::Denied);
            spaces.remove(&build).await.unwrap();
            assert!(out.path().join("f").exists() && !root.exists());
            assert!(spaces.list().await.unwrap().is_empty());
        });
    }
}
