//! What the demo sets up: a base image, a repository, a data directory.

use crate::error::{Context, Failure, Result};
use crate::layout::Layout;
use crate::process::program;
use crate::services::{docker, empty};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const BASE: &str = "kiln.local/busybox:latest";

const DOCKERFILE: &str = "\
FROM kiln.local/busybox:latest AS workshop
WORKDIR /src
COPY words.txt make.sh ./
RUN sh make.sh words.txt > greeting
RUN wc -w greeting

FROM kiln.local/busybox:latest
LABEL org.opencontainers.image.title=\"kiln demo\"
ENV GREETING=/app/greeting
COPY --from=workshop /src/greeting /app/greeting
CMD [\"/bin/sh\", \"-c\", \"cat $GREETING\"]
";
const MAKE: &str = "while read -r word; do printf '%s ' \"$word\"; done < \"$1\" | sed 's/ $/./'\n";
const WORDS: &str = "fired\nin\na\nkiln\n";
const EXPECTED: &str = "fired in a kiln.";

/// The demo's directory and what has to be removed at the end.
#[derive(Debug)]
pub(super) struct Stage {
    dir: PathBuf,
    images: Vec<String>,
}

impl Stage {
    pub(super) fn new(layout: &Layout) -> Self {
        Self { dir: layout.target.join("demo"), images: Vec::new() }
    }

    /// Kiln's data directory. It is kept until the next demo, for looking at by hand.
    pub(super) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// Makes a base image out of nothing but busybox, unless there is one.
    pub(super) fn base_image(&mut self) -> Result<()> {
        empty(&self.dir)?;
        if self.docker(&["image", "inspect", "--format", "{{.Id}}", BASE]).is_ok() {
            println!("{BASE} is there already");
            return Ok(());
        }
        let busybox = program("busybox").ok_or_else(|| Failure::task("busybox is missing"))?;
        let root = self.dir.join("root");
        make_root(&busybox, &root)?;
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "--owner=0", "--group=0", "-C"]).arg(&root).args(["-c", "."]);
        let mut tar = tar.stdout(Stdio::piped()).spawn().context("cannot run tar")?;
        let mut import = docker();
        import.args(["import", "--change", "CMD [\"/bin/sh\"]", "-", BASE]);
        if let Some(archive) = tar.stdout.take() {
            import.stdin(archive);
        }
        let imported = text_of(import);
        let packed = tar.wait().context("cannot wait for tar")?;
        println!("{BASE} is {}", imported?);
        self.remove_later(BASE);
        if packed.success() { Ok(()) } else { Err(Failure::task(format!("tar: {packed}"))) }
    }

    /// Creates the repository: its address, and what an image built from it prints.
    pub(super) fn repository(&self) -> Result<(String, String)> {
        let repository = self.dir.join("repository");
        empty(&repository)?;
        for (name, text) in [
            ("Dockerfile", DOCKERFILE),
            ("make.sh", MAKE),
            ("words.txt", WORDS),
            (".dockerignore", ".git\n*.md\n"),
            ("README.md", "# A demo\n"),
        ] {
            let file = repository.join(name);
            fs::write(&file, text).context(format!("cannot write {}", file.display()))?;
        }
        git(&repository, &["init", "--quiet", "--initial-branch", "main"])?;
        git(&repository, &["add", "--all"])?;
        git(&repository, &["commit", "--quiet", "--message", "Say what happened"])?;
        println!("{}", git(&repository, &["log", "--oneline", "--stat"])?);
        Ok((format!("file://{}", repository.display()), EXPECTED.to_owned()))
    }

    /// Runs docker with the engine in use; gives back what it printed.
    pub(super) fn docker(&self, args: &[&str]) -> Result<String> {
        let mut command = docker();
        command.args(args);
        text_of(command)
    }

    /// Removes the image at the end.
    pub(super) fn remove_later(&mut self, image: &str) {
        self.images.push(image.to_owned());
    }

    /// Removes the images, whichever of them there are.
    pub(super) fn clear(&mut self) {
        for image in self.images.drain(..).rev() {
            let mut command = docker();
            command.args(["rmi", "--force", &image]);
            let _ = text_of(command);
        }
    }
}

/// The git configuration and credentials of whoever runs the demo are not part of it.
pub(super) fn forget_home(command: &mut Command) {
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
}

fn make_root(busybox: &Path, root: &Path) -> Result<()> {
    for dir in ["bin", "etc", "tmp", "root"] {
        let dir = root.join(dir);
        fs::create_dir_all(&dir).context(format!("cannot create {}", dir.display()))?;
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).context("cannot write etc/passwd")?;
    fs::copy(busybox, root.join("bin/busybox")).context("cannot copy busybox")?;
    let mut list = Command::new(busybox);
    list.arg("--list");
    for applet in text_of(list)?.lines().filter(|name| *name != "busybox") {
        #[cfg(unix)]
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))
            .context(format!("cannot link {applet}"))?;
        #[cfg(not(unix))]
        fs::copy(busybox, root.join("bin").join(applet)).context("cannot copy busybox")?;
    }
    Ok(())
}

fn git(dir: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    forget_home(&mut command);
    command.args(["-c", "user.name=Kiln", "-c", "user.email=demo@kiln.invalid"]);
    command.args(args).current_dir(dir);
    text_of(command)
}

/// What a command printed, or what it complained about.
fn text_of(mut command: Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().context(format!("cannot run {name}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    Err(Failure::task(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
