//! Git's credential helpers: programs that the host's own git configuration names and that are
//! asked by `gitcredentials(7)`. They are asked only, never told what to keep or to forget.

use git2::Config;
use kiln::{Secret, secret::Credentials};
use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};
use url::Url;

/// How much of an answer is read, in bytes.
const ANSWER_MAX: u64 = 64 << 10;

/// What the configuration says about one URL.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Helpers {
    /// What a shell is to run, without the word `get`.
    commands: Vec<String>,
    username: Option<String>,
    use_path: bool,
}

/// A helper that gave no answer in time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Late;

impl Helpers {
    /// Reads files of git's configuration; what cannot be read counts as empty.
    pub(crate) fn read(files: &[PathBuf], url: &Url) -> Self {
        let mut helpers = Self::default();
        for file in files.iter().filter(|file| file.exists()) {
            if let Err(e) = helpers.read_one(file, url) {
                tracing::warn!(file = %file.display(), error = %e.message(), "git's configuration cannot be read");
            }
        }
        helpers
    }

    fn read_one(&mut self, file: &std::path::Path, url: &Url) -> Result<(), git2::Error> {
        let config = Config::open(file)?;
        let mut entries = config.entries(Some("^credential\\."))?;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            // A key alone means yes.
            let value = if entry.has_value() { entry.value() } else { Ok("true") };
            if let (Ok(name), Ok(value)) = (entry.name(), value) {
                self.set(name, value, url);
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str, url: &Url) {
        let Some(rest) = name.strip_prefix("credential.") else { return };
        let (pattern, key) = rest.rsplit_once('.').map_or((None, rest), |(p, k)| (Some(p), k));
        if pattern.is_some_and(|pattern| !covers(pattern, url)) {
            return;
        }
        match key {
            // An empty one takes all before it back.
            "helper" if value.is_empty() => self.commands.clear(),
            "helper" => self.commands.push(command(value)),
            "username" => self.username = Some(value.to_owned()),
            "usehttppath" => self.use_path = matches!(value, "true" | "yes" | "on" | "1"),
            _ => {}
        }
    }

    /// Asks one helper after the other until there are a user and a password.
    pub(crate) async fn ask(
        &self,
        url: &Url,
        user: Option<&str>,
        limit: Duration,
    ) -> Result<Option<Credentials>, Late> {
        let mut username = user.map(ToOwned::to_owned).or_else(|| self.username.clone());
        for command in &self.commands {
            let question = self.question(url, username.as_deref());
            let answer = timeout(limit, run(command, &question)).await.map_err(|_| Late)?;
            let answer = match answer {
                Ok(answer) => answer,
                Err(e) => {
                    // Not with the command: people write passwords into it.
                    tracing::debug!(error = %e, "a credential helper failed");
                    continue;
                }
            };
            let text = answer.expose_str().unwrap_or_default();
            let value = |key: &str| {
                let line = text.lines().rev().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
                line.filter(|v| !v.is_empty())
            };
            username = value("username").map(ToOwned::to_owned).or(username);
            if let (Some(username), Some(password)) = (&username, value("password")) {
                let password = Secret::new(password);
                return Ok(Some(Credentials { username: username.clone(), password }));
            }
            if matches!(value("quit"), Some("1" | "true")) {
                break;
            }
        }
        Ok(None)
    }

    /// What a helper reads. An address holds no line breaks, so nothing here can add a line.
    fn question(&self, url: &Url, username: Option<&str>) -> String {
        let host = url.host_str().unwrap_or_default();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut lines = vec![format!("protocol={}", url.scheme()), format!("host={host}")];
        if self.use_path {
            lines.push(format!("path={}", url.path().trim_start_matches('/')));
        }
        lines.extend(username.map(|user| format!("username={user}")));
        lines.retain(|line| !line.contains(char::is_control));
        lines.join("\n") + "\n\n"
    }
}

/// What a shell is to run for a helper, as git has it.
fn command(helper: &str) -> String {
    match helper.strip_prefix('!') {
        Some(command) => command.to_owned(),
        None if helper.starts_with('/') => helper.to_owned(),
        None => format!("git credential-{helper}"),
    }
}

/// Whether `credential.<pattern>.…` is about a URL.
fn covers(pattern: &str, url: &Url) -> bool {
    let (scheme, rest) = pattern.split_once("://").map_or((None, pattern), |(s, r)| (Some(s), r));
    if scheme.is_some_and(|scheme| !scheme.eq_ignore_ascii_case(url.scheme())) {
        return false;
    }
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (place, None),
    };
    let usual = Some(if url.scheme() == "https" { 443 } else { 80 });
    let same_port = port.or(usual) == url.port_or_known_default();
    let path = path.trim_end_matches('/');
    let below = url.path().trim_start_matches('/').strip_prefix(path);
    same_port
        && is_host(host, url.host_str().unwrap_or_default())
        && below.is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

/// Whether a host is the one of a pattern, in which `*` stands for one part.
fn is_host(pattern: &str, host: &str) -> bool {
    let (pattern, host): (Vec<_>, Vec<_>) =
        (pattern.split('.').collect(), host.split('.').collect());
    let same = |(p, h): (&&str, &&str)| *p == "*" || p.eq_ignore_ascii_case(h);
    pattern.len() == host.len() && pattern.iter().zip(&host).all(same)
}

/// Runs a helper in a group of its own, which is killed when nobody waits any more.
async fn run(command: &str, question: &str) -> std::io::Result<Secret> {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{command} get")])
        // Nobody sits at the terminal of a build.
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    // Away from any repository, whose configuration git would read.
    #[cfg(unix)]
    shell.current_dir("/").process_group(0);
    let mut child = shell.spawn()?;
    let mut group = Group::of(&child);
    if let Some(mut input) = child.stdin.take() {
        // A helper need not read what it is asked.
        let _ = input.write_all(question.as_bytes()).await;
    }
    let mut answer = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    }
    let answer = Secret::new(answer);
    let status = child.wait().await?;
    // What a helper leaves running on purpose, such as a cache, may stay.
    group.release();
    if status.success() { Ok(answer) } else { Err(std::io::Error::other(status.to_string())) }
}

/// The processes of a helper.
#[cfg_attr(not(unix), expect(dead_code, reason = "only Unix has groups"))]
#[derive(Debug)]
struct Group(Option<u32>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id())
    }

    fn release(&mut self) {
        self.0 = None;
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        use rustix::process::{Pid, Signal, kill_process_group};
        let pid = self.0.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(Err(e)) = pid.map(|pid| kill_process_group(pid, Signal::KILL)) {
            tracing::debug!(error = %e, "a credential helper was gone already");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_count_for_the_urls_they_are_about() {
        let url = Url::parse("https://git.example.org/team/repo.git").unwrap();
        let cases = [
            ("https://git.example.org", true),
            ("https://GIT.example.org/", true),
            ("https://me@git.example.org", true),
            ("git.example.org", true),
            ("https://*.example.org", true),
            ("https://*", false),
            ("https://example.org", false),
            ("http://git.example.org", false),
            ("https://git.example.org:8443", false),
            ("https://git.example.org:443", true),
            ("https://git.example.org/team", true),
            ("https://git.example.org/tea", false),
            ("https://git.example.org.evil.com", false),
        ];
        for (pattern, expected) in cases {
            assert_eq!(covers(pattern, &url), expected, "{pattern}");
        }
    }

    #[test]
    fn helpers_are_collected_and_taken_back() {
        let url = Url::parse("https://h:8443/a/b.git").unwrap();
        let mut helpers = Helpers::default();
        for (name, value) in [
            ("credential.helper", "first"),
            ("credential.helper", ""),
            ("credential.helper", "store --file x"),
            ("credential.https://other.helper", "other"),
            ("credential.https://h:8443.helper", "/bin/x y"),
            ("credential.https://h:8443.username", "me"),
            ("credential.helper", "!f() { echo; }; f"),
        ] {
            helpers.set(name, value, &url);
        }
        let commands = ["git credential-store --file x", "/bin/x y", "f() { echo; }; f"];
        assert_eq!(helpers.commands, commands);
        let question = helpers.question(&url, helpers.username.as_deref());
        assert_eq!(question, "protocol=https\nhost=h:8443\nusername=me\n\n");
        helpers.set("credential.usehttppath", "true", &url);
        assert!(helpers.question(&url, None).contains("\npath=a/b.git\n"));
    }
}
