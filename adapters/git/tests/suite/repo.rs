use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A repository that git itself made.
#[derive(Debug)]
pub(crate) struct Repo {
    directory: tempfile::TempDir,
}

/// git without anything of this host's configuration.
pub(crate) fn git(directory: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "T")))
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "t@example.org")));
    git
}

impl Repo {
    /// An empty repository whose branch is `main`.
    pub(crate) fn empty() -> Self {
        let repo = Self { directory: tempfile::tempdir().unwrap() };
        repo.git(&["init", "-q", "-b", "main"]);
        // What a forge allows.
        repo.git(&["config", "uploadpack.allowReachableSHA1InWant", "true"]);
        repo
    }

    /// A repository with a file, a program, a link and a directory in one commit.
    pub(crate) fn small() -> Self {
        let repo = Self::empty();
        repo.write("Dockerfile", "FROM scratch\n").write("sub/run.sh", "#!/bin/sh\n");
        let run = fs::Permissions::from_mode(0o755);
        fs::set_permissions(repo.path().join("sub/run.sh"), run).unwrap();
        symlink("sub/run.sh", repo.path().join("link")).unwrap();
        repo.git(&["add", "."]);
        repo.git(&["commit", "-qm", "one"]);
        repo
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn url(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    /// The path of its objects, to be served.
    pub(crate) fn bare(&self) -> PathBuf {
        self.path().join(".git")
    }

    pub(crate) fn write(&self, path: &str, content: &str) -> &Self {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Commits everything and gives the id.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    #[track_caller]
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.pipe(arguments, b"")
    }

    /// Runs git with something on its standard input.
    #[track_caller]
    pub(crate) fn pipe(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut child = git(self.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn blob(&self, content: &[u8]) -> String {
        self.pipe(&["hash-object", "-w", "--stdin"], content)
    }

    /// Writes a tree as it is, whatever git thinks of its names, and gives its id.
    pub(crate) fn tree(&self, entries: &[(&str, &[u8], &str)]) -> String {
        let mut raw = Vec::new();
        for (mode, name, id) in entries {
            raw.extend_from_slice(mode.as_bytes());
            raw.push(b' ');
            raw.extend_from_slice(name);
            raw.push(0);
            raw.extend((0..40).step_by(2).map(|i| u8::from_str_radix(&id[i..i + 2], 16).unwrap()));
        }
        self.pipe(&["hash-object", "-w", "-t", "tree", "--literally", "--stdin"], &raw)
    }

    /// Makes `main` a commit of a tree.
    pub(crate) fn commit_tree(&self, tree: &str) -> String {
        let id = self.git(&["commit-tree", "-m", "made by hand", tree]);
        self.git(&["update-ref", "refs/heads/main", &id]);
        id
    }
}
