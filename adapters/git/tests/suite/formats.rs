//! What looks like a repository and cannot be fetched.

use super::{
    is, open, refusal,
    repo::{Repo, git},
    run,
    server::{Rules, Server},
};
use kiln::{ErrorKind, SourceSpec};
use std::{fs, path::Path};

fn all(directory: &Path, commands: &[&[&str]]) {
    for command in commands {
        let out = git(directory).args(*command).output().unwrap();
        assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn ids_of_sha256_are_told_as_unsupported() {
    run("ids_of_sha256_are_told_as_unsupported", async {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        all(at, &[&["init", "-q", "-b", "main", "--object-format=sha256"]]);
        let server = Server::start(Rules::serve("r.git", at.join(".git"))).await;
        let path = at.to_str().unwrap().to_owned();
        // Empty, and with a commit.
        for commit in [false, true] {
            if commit {
                all(at, &[&["commit", "-q", "--allow-empty", "-m", "one"]]);
            }
            for url in [server.url("r.git"), path.clone()] {
                let e = refusal(open(), &SourceSpec::new(&url)).await;
                is(&e, ErrorKind::Unsupported, "SHA-256");
            }
        }
        let repo = Repo::small();
        let spec = SourceSpec::new(repo.url()).reference("ab".repeat(32));
        is(&refusal(open(), &spec).await, ErrorKind::Unsupported, "SHA-256");
    });
}

#[test]
fn a_bundle_is_told_as_one() {
    run("a_bundle_is_told_as_one", async {
        let repo = Repo::small();
        repo.git(&["bundle", "create", "-q", "all.bundle", "--all"]);
        let e = refusal(open(), &SourceSpec::new(format!("{}/all.bundle", repo.url()))).await;
        is(&e, ErrorKind::Unsupported, "a bundle");
        assert!(e.hint_text().unwrap().contains("git clone"), "{e:?}");
        let server = Server::start(Rules::serve("r.git", repo.bare())).await;
        let e = refusal(open(), &SourceSpec::new(server.url("all.bundle"))).await;
        is(&e, ErrorKind::Unsupported, "a bundle");
    });
}

#[test]
fn plain_files_over_http_are_told_as_unsupported() {
    run("plain_files_over_http_are_told_as_unsupported", async {
        let repo = Repo::small();
        repo.git(&["update-server-info"]);
        let list = fs::read_to_string(repo.bare().join("info/refs")).unwrap();
        let rules = Rules { status: Some(200), body: Some(list), ..Rules::default() };
        let server = Server::start(rules).await;
        let e = refusal(open(), &SourceSpec::new(server.url("r.git"))).await;
        is(&e, ErrorKind::Unsupported, "as plain files");
    });
}

#[test]
fn a_damaged_pack_is_told_as_one() {
    run("a_damaged_pack_is_told_as_one", async {
        let repo = Repo::small();
        let rules = Rules { corrupt: true, ..Rules::serve("r.git", repo.bare()) };
        let server = Server::start(rules).await;
        let e = refusal(open(), &SourceSpec::new(server.url("r.git"))).await;
        assert_eq!(e.kind(), ErrorKind::Corrupt, "{e:?}");
    });
}

#[test]
fn an_empty_repository_says_what_to_do() {
    run("an_empty_repository_says_what_to_do", async {
        let repo = Repo::empty();
        let server = Server::start(Rules::serve("r.git", repo.bare())).await;
        for url in [server.url("r.git"), repo.url()] {
            let e = refusal(open(), &SourceSpec::new(url)).await;
            is(&e, ErrorKind::NotFound, "the repository is empty");
            assert_eq!(e.hint_text(), Some("Push a commit to it first."));
        }
    });
}
