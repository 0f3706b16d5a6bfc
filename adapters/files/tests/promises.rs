//! The adapters of this crate keep the promises of their ports.

#![expect(clippy::unwrap_used, reason = "a test tells by panicking")]

use kiln_conformance::Fresh;
use kiln_files::{FileArtifacts, FileLogs, FileSecrets, FileWorkspaces};
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
        let path = dir.path().to_owned();
        let open = move || Arc::new(FileArtifacts::open(&path).unwrap());
        Fresh::new(open()).reopen(move || std::future::ready(open())).keep(dir)
    }
    kiln_conformance::artifacts_suite!(fresh());
}

mod workspaces {
    use super::*;
    use kiln_conformance::workspaces::OnDisk;

    fn fresh() -> Fresh<OnDisk<FileWorkspaces>> {
        let dir = tempfile::tempdir().unwrap();
        let spaces = Arc::new(FileWorkspaces::open(dir.path()).unwrap());
        Fresh::new(Arc::new(OnDisk(spaces))).keep(dir)
    }
    kiln_conformance::workspaces_suite!(fresh());
}

mod secrets {
    use super::*;
    use kiln::SecretRef;
    use std::os::unix::fs::PermissionsExt;

    fn fresh() -> Fresh<FileSecrets> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "s3cret of ann").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let secrets = FileSecrets::of(kiln_conformance::sample::owner("ann"))
            .with(SecretRef::new("token").unwrap(), file);
        Fresh::new(Arc::new(secrets)).keep(dir)
    }
    kiln_conformance::secrets_suite!(fresh());
}

mod secrets_of_a_directory {
    use super::*;
    use kiln::SecretRef;
    use kiln_files::SecretsDir;
    use std::os::unix::fs::PermissionsExt;

    fn fresh() -> Fresh<SecretsDir> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ann/token");
        std::fs::create_dir(dir.path().join("ann")).unwrap();
        std::fs::write(&file, "s3cret of ann").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let secrets = SecretsDir::at(dir.path().to_owned());
        Fresh::new(Arc::new(secrets)).keep(dir)
    }
    kiln_conformance::secrets_suite!(fresh());

    #[test]
    fn no_name_leaves_the_directory() {
        for name in ["../x", "a/../x", "/x", ".x", "a//x", ""] {
            assert!(SecretRef::new(name).is_err(), "{name}");
        }
        // An inner part may begin with a dot, and is a name like any other.
        assert!(SecretRef::new("a/.x").is_ok());
    }
}
