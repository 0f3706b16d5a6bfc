//! The base of all boxes of these tests, and commands of this machine.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

/// The base of all boxes here. It stays in the engine for the next run.
pub(crate) const BASE: &str = "kiln-test/agent-base:1";

/// Makes the base image of a static busybox.
pub(crate) fn base_image() {
    if output("docker", &["image", "inspect", BASE]).status.success() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists());
    fs::copy(busybox.expect("busybox-static is installed"), bin.join("busybox")).unwrap();
    for name in ["sh", "cat", "echo", "sleep", "mkdir", "kill", "setsid", "mv", "rm", "true", "["] {
        std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
    }
    let archive = root.path().join("base.tar");
    let (archive, root) = (archive.to_str().unwrap(), root.path().to_str().unwrap());
    assert!(output("tar", &["-C", root, "-cf", archive, "bin"]).status.success());
    let made = output("docker", &["import", "--change", "LABEL dev.kiln.test=base", archive, BASE]);
    assert!(made.status.success(), "{made:?}");
}

pub(crate) fn output(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).stdin(Stdio::null()).output().unwrap()
}
