//! Real shells to run text in, as a session does: one after the other in the same shell.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The shells that a box may have, as their command lines.
pub(crate) const SHELLS: [&[&str]; 3] = [&["sh"], &["bash"], &["busybox", "sh"]];

/// Runs a check in every shell of this machine.
pub(crate) fn in_every_shell(test: &str, check: impl Fn(&Shell)) {
    for argv in SHELLS {
        let there = Command::new(argv[0])
            .args(&argv[1..])
            .args(["-c", ":"])
            .stdin(Stdio::null())
            .status()
            .is_ok_and(|s| s.success());
        if there {
            check(&Shell { argv });
        } else {
            println!("SKIPPED: {test}: there is no {}", argv.join(" "));
        }
    }
}

pub(crate) struct Shell {
    argv: &'static [&'static str],
}

/// What became of a shell.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
}

impl Ran {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

impl Shell {
    pub(crate) fn name(&self) -> String {
        self.argv.join(" ")
    }

    /// Runs texts in one shell, each evaluated after the other, with nothing but these variables.
    /// `[n]` is printed with the status of each that came to its end. There is more on standard
    /// input than any of them should read.
    pub(crate) fn session(&self, dir: &Path, vars: &[(&str, &str)], texts: &[&str]) -> Ran {
        let mut script = String::new();
        for (n, text) in texts.iter().enumerate() {
            let file = dir.join(format!("text-{n}"));
            fs::write(&file, text).unwrap();
            script += &format!("eval \"$(cat {})\"\n", file.display());
            script += "printf '[%s]\\n' \"$?\"\n";
        }
        let file = dir.join("session");
        fs::write(&file, script).unwrap();
        let input = dir.join("input");
        fs::write(&input, "not for steps\n").unwrap();
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let output = Command::new(self.argv[0])
            .args(&self.argv[1..])
            .arg(OsStr::new(&file))
            .env_clear()
            .env("PATH", path)
            .envs(vars.iter().copied())
            .current_dir(dir)
            .stdin(fs::File::open(input).unwrap())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        Ran { code: output.status.code().unwrap_or(-1), out: output.stdout }
    }
}

/// A directory tree from paths and texts; a path that ends in `/` is a directory.
pub(crate) fn tree(root: &Path, files: &[(&str, &str)]) -> PathBuf {
    for (path, text) in files {
        let at = root.join(path);
        if path.ends_with('/') {
            fs::create_dir_all(at).unwrap();
            continue;
        }
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }
    root.to_owned()
}
