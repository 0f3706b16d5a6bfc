//! How a step is named in `wercker.yml`: `[owner/]name[@version][ "url"]`.

use std::{fmt, path::PathBuf, str::FromStr};

/// The owner of a step that names none.
pub const OWNER: &str = "wercker";
/// The version of a step that names none: the newest.
pub const NEWEST: &str = "*";
/// How long an owner, a name or a version may be, in bytes.
const PART_MAX: usize = 64;
/// How long a URL or a path may be, in bytes.
const URL_MAX: usize = 2048;

/// A step as `wercker.yml` names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StepRef {
    /// Who published it; `wercker` where nobody is named.
    pub owner: String,
    /// Its name, which is also the prefix of its variables.
    pub name: String,
    /// The version that is asked for; `*` is the newest.
    pub version: String,
    /// Where its code is.
    pub source: StepSource,
}

/// Where the code of a step is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StepSource {
    /// In `wercker.yml` itself: `script`.
    Script,
    /// In Kiln itself: `internal/…`.
    Internal,
    /// In the registry of steps.
    Registry,
    /// In an archive at a URL with `http:` or `https:`.
    Archive(String),
    /// In a directory of this machine, absolute or relative to the project.
    Local(PathBuf),
}

/// Why a text names no step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no step: {problem}")]
pub struct StepRefError {
    text: String,
    problem: String,
}

impl StepRefError {
    fn new(text: &str, problem: impl Into<String>) -> Self {
        let text = text.chars().take(80).flat_map(char::escape_debug).collect();
        Self { text, problem: problem.into() }
    }

    /// What is wrong with the text, without the text.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl StepRef {
    /// Reads the name of a step.
    pub fn parse(text: &str) -> Result<Self, StepRefError> {
        let whole = text.trim();
        let (id, url) = match whole.split_once(char::is_whitespace) {
            Some((id, rest)) => (id, Some(unquoted(whole, rest.trim())?)),
            None => (whole, None),
        };
        let (owner, rest) = id.split_once('/').unwrap_or((OWNER, id));
        let (name, version) = rest.split_once('@').unwrap_or((rest, NEWEST));
        let check = |what, part, extra| {
            part_problem(part, extra)
                .map_or(Ok(()), |p| Err(StepRefError::new(whole, format!("its {what} {p}"))))
        };
        check("owner", owner, "")?;
        check("name", name, "")?;
        if version != NEWEST {
            check("version", version, "+*^~")?;
        }
        let source = match url {
            Some(url) => place(whole, url)?,
            None if name == "script" => StepSource::Script,
            None if owner == "internal" => StepSource::Internal,
            None => StepSource::Registry,
        };
        Ok(Self { owner: owner.into(), name: name.into(), version: version.into(), source })
    }

    /// The name of its directory in a run, of which it is step number `n`: no two are the same.
    pub fn safe_id(&self, n: usize) -> String {
        format!("{}-{n}", self.name)
    }

    /// Whether it is code in `wercker.yml` itself.
    pub fn is_script(&self) -> bool {
        self.source == StepSource::Script
    }
}

impl FromStr for StepRef {
    type Err = StepRefError;

    fn from_str(text: &str) -> Result<Self, StepRefError> {
        Self::parse(text)
    }
}

impl fmt::Display for StepRef {
    /// The shortest text that names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.owner != OWNER {
            write!(f, "{}/", self.owner)?;
        }
        f.write_str(&self.name)?;
        if self.version != NEWEST {
            write!(f, "@{}", self.version)?;
        }
        match &self.source {
            StepSource::Archive(url) => write!(f, " \"{url}\""),
            StepSource::Local(path) if path.is_absolute() => {
                write!(f, " \"file://{}\"", path.display())
            }
            StepSource::Local(path) => write!(f, " \"{}\"", path.display()),
            _ => Ok(()),
        }
    }
}

/// What is shown of a step: what `name:` says, or else its own name. One line, not too long.
pub fn display_name(name: Option<&str>, step: &StepRef) -> String {
    let words = name.unwrap_or_default().split(|c: char| c.is_whitespace() || c.is_control());
    let line = words.filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
    let line = if line.is_empty() { step.name.clone() } else { line };
    match line.char_indices().find(|(at, c)| at + c.len_utf8() > 100) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// Whether a text is the exact version of a step, fit to be the name of a directory.
pub fn is_exact_version(text: &str) -> bool {
    part_problem(text, "+").is_none()
}

fn part_problem(part: &str, extra: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c) || extra.contains(c);
    if part.is_empty() {
        return Some("is empty".into());
    }
    if part.len() > PART_MAX {
        return Some(format!("is longer than {PART_MAX} characters"));
    }
    if part.starts_with(['.', '-']) {
        return Some("begins with a mark".into());
    }
    let bad = part.chars().find(|&c| !legal(c))?;
    Some(format!("has `{}`, where letters, digits and `-_.` are allowed", bad.escape_debug()))
}

/// The text between the quotes that a URL stands in.
fn unquoted<'a>(whole: &str, text: &'a str) -> Result<&'a str, StepRefError> {
    let fail = |problem| Err(StepRefError::new(whole, problem));
    let inner = ['"', '\''].iter().find_map(|&q| text.strip_prefix(q)?.strip_suffix(q));
    let Some(inner) = inner else {
        return fail("after the name comes a URL in double quotes, or nothing");
    };
    if inner.is_empty() || inner.len() > URL_MAX {
        return fail("its URL is empty or longer than 2048 bytes");
    }
    if inner.contains(|c: char| c.is_control() || c == '"' || c == '\'') {
        return fail("its URL has quotes or control characters");
    }
    Ok(inner)
}

fn place(whole: &str, url: &str) -> Result<StepSource, StepRefError> {
    if let Some(path) = url.strip_prefix("file://") {
        let path = path.strip_prefix("localhost").filter(|p| p.starts_with('/')).unwrap_or(path);
        return Ok(StepSource::Local(path.into()));
    }
    if ["./", "../", "/"].iter().any(|p| url.starts_with(p)) || [".", ".."].contains(&url) {
        return Ok(StepSource::Local(url.into()));
    }
    if ["http://", "https://"].iter().any(|p| url.starts_with(p)) {
        if url.contains(char::is_whitespace) {
            return Err(StepRefError::new(whole, "its URL has a blank"));
        }
        let authority = url.split("://").nth(1).unwrap_or_default();
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() || authority.contains('@') {
            return Err(StepRefError::new(
                whole.split_whitespace().next().unwrap_or_default(),
                "its URL has no host, or a login",
            ));
        }
        return Ok(StepSource::Archive(url.into()));
    }
    Err(StepRefError::new(
        whole,
        "its URL begins neither with `https://`, `http://` or `file://` nor with `./` or `/`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, String, StepSource) {
        let step = StepRef::parse(text).unwrap();
        assert_eq!(step.to_string().parse::<StepRef>().unwrap(), step, "{text}");
        (step.owner, step.name, step.version, step.source)
    }

    #[test]
    fn every_form_of_a_step_is_read() {
        let archive = |url: &str| StepSource::Archive(url.into());
        let local = |path: &str| StepSource::Local(path.into());
        let rows = [
            ("bundle-install", "wercker", "bundle-install", "*", StepSource::Registry),
            ("wercker/s3sync", "wercker", "s3sync", "*", StepSource::Registry),
            ("termie/s3sync@1.2.3", "termie", "s3sync", "1.2.3", StepSource::Registry),
            ("s3sync@*", "wercker", "s3sync", "*", StepSource::Registry),
            ("s3sync@1.x", "wercker", "s3sync", "1.x", StepSource::Registry),
            ("script", "wercker", "script", "*", StepSource::Script),
            ("internal/docker-push", "internal", "docker-push", "*", StepSource::Internal),
            ("a/b \"http://h/x.tar\"", "a", "b", "*", archive("http://h/x.tar")),
            ("b@2   'https://h/x.tgz?y=1'", "wercker", "b", "2", archive("https://h/x.tgz?y=1")),
            ("b \"file:///some path\"", "wercker", "b", "*", local("/some path")),
            ("b \"./steps/b\"", "wercker", "b", "*", local("./steps/b")),
            ("script \"./mine\"", "wercker", "script", "*", local("./mine")),
        ];
        for (text, owner, name, version, source) in rows {
            assert_eq!(parts(text), (owner.into(), name.into(), version.into(), source), "{text}");
        }
    }

    #[test]
    fn what_names_no_step_is_refused_with_the_reason() {
        let rows = [
            ("", "its name is empty"),
            ("a/", "its name is empty"),
            ("/b", "its owner is empty"),
            ("a/b/c", "its name has `/`"),
            ("a@", "its version is empty"),
            ("../x", "its owner begins with a mark"),
            ("a/..", "its name begins with a mark"),
            ("-rf", "its name begins with a mark"),
            ("a@..", "its version begins with a mark"),
            ("a@../..", "its owner has `@`"),
            ("a/b@1/2", "its version has `/`"),
            ("a$(id)", "its name has `$`"),
            ("a\0b", "its name has `\\0`"),
            ("a http://h/x", "a URL in double quotes"),
            ("a \"\"", "its URL is empty"),
            ("a \"ftp://h/x\"", "its URL begins neither"),
            ("a \"http://\"", "no host"),
            ("a \"http://h/a b\"", "has a blank"),
            ("a \"https://u:hunter2@h/x\"", "a login"),
        ];
        for (text, problem) in rows {
            let error = StepRef::parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text:?}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(StepRef::parse(&"a".repeat(65)).is_err());
    }

    #[test]
    fn steps_of_one_name_have_directories_of_their_own() {
        let step = StepRef::parse("a/s3sync@1").unwrap();
        assert_eq!([step.safe_id(3), step.safe_id(4)], ["s3sync-3", "s3sync-4"]);
    }

    #[test]
    fn a_display_name_is_one_line() {
        let step = StepRef::parse("script").unwrap();
        assert_eq!(display_name(None, &step), "script");
        assert_eq!(display_name(Some(" \n"), &step), "script");
        assert_eq!(
            display_name(Some("middleman  build\n\u{1b}[31mx"), &step),
            "middleman build [31mx"
        );
        let long = display_name(Some(&"ü".repeat(90)), &step);
        assert!(long.len() <= 103 && long.ends_with("ü…"), "{long}");
    }
}
