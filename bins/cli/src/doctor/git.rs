//! What there is to log in to git servers with: credential helpers, keys and an agent.

use super::finding::Finding;
use kiln_git::GitConfig;
use std::{
    collections::BTreeSet,
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
};

/// Whether helpers can be run, and what SSH has.
pub(super) fn git() -> Vec<Finding> {
    let config = match std::env::var_os("HOME").filter(|home| !home.is_empty()) {
        Some(home) => GitConfig::for_home(home),
        None => GitConfig::default(),
    };
    vec![helpers(&config), ssh(&config)]
}

/// What git says, away from any repository: the settings of one are not asked by Kiln either.
fn output(args: &[&str]) -> Option<String> {
    let mut git = Command::new("git");
    git.args(args).current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    let output = git.output();
    // Of a setting that is not there it says nothing and fails.
    String::from_utf8(output.ok()?.stdout).ok()
}

fn helpers(config: &GitConfig) -> Finding {
    const WHAT: &str = "git logins";
    let mut found: Vec<String> = Vec::new();
    found.extend(config.netrc.iter().filter(|f| f.exists()).map(|f| f.display().to_string()));
    let settings = output(&["config", "--get-regexp", r"^credential\.(.*\.)?helper$"]);
    let settings = settings.unwrap_or_default();
    let all = settings.lines().filter_map(|line| Some(line.split_once(' ')?.1.trim()));
    let all: BTreeSet<&str> = all.filter(|helper| !helper.is_empty()).collect();
    let dir = output(&["--exec-path"]).unwrap_or_default();
    let (fine, broken): (Vec<&str>, Vec<&str>) =
        all.iter().partition(|helper| is_there(helper, Path::new(dir.trim())));
    if !broken.is_empty() {
        return Finding::problem(
            WHAT,
            format!("the credential helper {} cannot be run", names(&broken)),
            "Install it, or take it out with `git config --global --edit`.",
        );
    }
    if !fine.is_empty() {
        found.push(names(&fine));
    }
    match found.as_slice() {
        [] => Finding::fine(WHAT, "none; `git config --global credential.helper store` adds one"),
        found => Finding::fine(WHAT, found.join(", ")),
    }
}

/// Helpers by their programs: what is written after them could be a secret.
fn names(helpers: &[&str]) -> String {
    let name = |helper: &&str| match helper.strip_prefix('!') {
        Some(_) => "a shell command".to_owned(),
        None => helper.split_whitespace().next().unwrap_or_default().to_owned(),
    };
    helpers.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Whether the program of a helper is there, as git looks for it.
fn is_there(helper: &str, exec_path: &Path) -> bool {
    let Some(name) = helper.split_whitespace().next() else { return true };
    if name.starts_with('!') {
        return true;
    }
    if name.starts_with('/') {
        return Path::new(name).exists();
    }
    let program = format!("git-credential-{name}");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(&program).exists())
        || exec_path.join(&program).exists()
}

fn ssh(config: &GitConfig) -> Finding {
    const WHAT: &str = "git over SSH";
    let mut found: Vec<String> = Vec::new();
    if let Some(socket) = &config.ssh_agent {
        if let Err(e) = UnixStream::connect(socket) {
            return Finding::warning(
                WHAT,
                format!("the agent at {} does not answer: {e}", socket.display()),
                "Start one with `eval $(ssh-agent)`, or unset SSH_AUTH_SOCK.",
            );
        }
        found.push("an agent".into());
    }
    let keys = config.identities.iter().filter(|key| key.exists());
    found.extend(keys.filter_map(|key| Some(key.file_name()?.to_string_lossy().into_owned())));
    if found.is_empty() {
        return Finding::fine(WHAT, "no agent and no key");
    }
    if !config.known_hosts.iter().any(|file| file.exists()) {
        return Finding::warning(
            WHAT,
            format!("{}, and no known host", found.join(", ")),
            "Connect once with `ssh -T git@HOST`, and compare its fingerprint.",
        );
    }
    Finding::fine(WHAT, found.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_looked_for_as_git_does() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("git-credential-kiln-test"), "").unwrap();
        assert!(is_there("kiln-test --file /x", dir.path()));
        assert!(is_there("!f() { echo; }; f", dir.path()));
        assert!(!is_there("kiln-test-absent", dir.path()));
        assert!(!is_there("/nonexistent/helper", dir.path()));
        assert_eq!(names(&["store --file /x", "!echo password=x"]), "store, a shell command");
    }
}
