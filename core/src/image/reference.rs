use super::Digest;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The registry that a name without one belongs to.
const DOCKER_HUB: &str = "docker.io";
/// The longest name, without tag and digest.
const NAME_MAX: usize = 255;
/// The longest tag.
const TAG_MAX: usize = 128;

/// The name of an image: `[registry[:port]/]path[:tag][@digest]`.
///
/// A first part is a registry if it has a `.` or a `:`, is `localhost`, or has an upper-case
/// letter. `docker.io/library/busybox`, `index.docker.io/library/busybox` and `busybox` are one
/// name; it is kept and shown in its short form, and [`ImageRef::canonical`] has the long one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    registry: Box<str>,
    path: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Digest>,
}

/// Why a text is not the name of an image, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the name of an image: {problem}{}", at_text(*.at))]
pub struct ImageRefError {
    /// The text; at most its first 300 characters.
    pub text: String,
    /// The byte at which the trouble begins.
    pub at: usize,
    /// What is wrong.
    pub problem: &'static str,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

fn at_text(at: usize) -> String {
    if at == 0 { String::new() } else { format!(" (at character {})", at + 1) }
}

impl ImageRef {
    /// Parses a name, in its short or its long form.
    pub fn parse(text: &str) -> Result<Self, ImageRefError> {
        let fail = |at, problem, suggestion| {
            let text = text.chars().take(300).collect();
            Err(ImageRefError { text, at, problem, suggestion })
        };
        if text.is_empty() {
            return fail(0, "it is empty", None);
        }
        if let Some((_, rest)) = text.split_once("://") {
            return fail(0, "a name has no scheme", Some(rest.into()));
        }
        if let Some(at) = text.find(|c: char| c.is_whitespace() || c.is_control()) {
            return fail(at, "it has white space or a control character", None);
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => match Digest::parse(digest) {
                Ok(digest) => (rest, Some(digest)),
                Err(_) => return fail(rest.len() + 1, "what follows `@` is not a digest", None),
            },
        };
        let slash = rest.rfind('/').map_or(0, |i| i + 1);
        let (name, tag) = match rest[slash..].find(':') {
            // `host:port` alone is a path `host` with a tag, as Docker has it.
            Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
            None => (rest, None),
        };
        if let Some(tag) = tag
            && let Err((at, problem)) = check_tag(tag)
        {
            return fail(name.len() + 1 + at, problem, None);
        }
        let (registry, path) = split_registry(name);
        let path_at = name.len() - path.len();
        if let Some(registry) = registry
            && let Err((at, problem)) = check_registry(registry)
        {
            return fail(at, problem, None);
        }
        if let Err((at, problem)) = check_path(path) {
            let lower =
                format!("{}{}{}", &name[..path_at], path.to_lowercase(), &text[name.len()..]);
            let suggestion = (lower != text && Self::parse(&lower).is_ok()).then_some(lower);
            return fail(path_at + at, problem, suggestion);
        }
        if registry.is_none() && path.len() == 64 && path.bytes().all(|c| c.is_ascii_hexdigit()) {
            return fail(0, "64 hexadecimal digits are the id of an image, not a name", None);
        }
        let (registry, path) = normal(registry, path);
        if registry.len() + 1 + path.len() > NAME_MAX {
            return fail(0, "it is longer than 255 characters", None);
        }
        Ok(Self { registry, path, tag: tag.map(Into::into), digest })
    }

    /// The registry with its port, `docker.io` if the name says none.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository inside the registry, such as `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.path
    }

    /// The tag, if the name says one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The tag; `latest` if the name says neither tag nor digest.
    pub fn tag_or_latest(&self) -> Option<&str> {
        self.tag().or_else(|| self.digest.is_none().then_some("latest"))
    }

    /// The digest, if the name says one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The name with this tag and without a digest. The tag is checked as [`ImageRef::parse`] does.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ImageRefError> {
        check_tag(tag).map_err(|(at, problem)| ImageRefError {
            text: tag.chars().take(300).collect(),
            at,
            problem,
            suggestion: None,
        })?;
        Ok(Self { tag: Some(tag.into()), digest: None, ..self.clone() })
    }

    /// The name with this digest and without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The name without tag and digest.
    #[must_use]
    pub fn without_tag(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }

    /// The short form of the name without tag and digest: what Docker calls the repository.
    pub fn name(&self) -> String {
        match (&*self.registry, self.path.strip_prefix("library/")) {
            (DOCKER_HUB, Some(short)) if !short.contains('/') => short.into(),
            (DOCKER_HUB, _) => self.path.as_ref().into(),
            _ => format!("{}/{}", self.registry, self.path),
        }
    }

    /// The long form: registry, path and tag are all written.
    pub fn canonical(&self) -> String {
        let tag = self.tag_or_latest().map(|t| format!(":{t}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|d| format!("@{d}")).unwrap_or_default();
        format!("{}/{}{tag}{digest}", self.registry, self.path)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for ImageRef {
    type Error = ImageRefError;

    fn try_from(text: String) -> Result<Self, ImageRefError> {
        Self::parse(&text)
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> Self {
        image.to_string()
    }
}

fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.contains(|c: char| c.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn normal(registry: Option<&str>, path: &str) -> (Box<str>, Box<str>) {
    match registry {
        Some(r) if r != DOCKER_HUB && r != "index.docker.io" => (r.into(), path.into()),
        _ if path.contains('/') => (DOCKER_HUB.into(), path.into()),
        _ => (DOCKER_HUB.into(), format!("library/{path}").into()),
    }
}

type Trouble = (usize, &'static str);

fn check_registry(registry: &str) -> Result<(), Trouble> {
    let (host, port) = match registry.strip_prefix('[') {
        Some(v6) => {
            let Some((address, after)) = v6.split_once(']') else {
                return Err((0, "the address of the registry has no closing `]`"));
            };
            if address.is_empty() || !address.bytes().all(|c| c.is_ascii_hexdigit() || c == b':') {
                return Err((1, "the address of the registry has a wrong character"));
            }
            match after.strip_prefix(':') {
                Some(port) => (None, Some(port)),
                None if after.is_empty() => (None, None),
                None => return Err((registry.len() - after.len(), "`]` ends the address")),
            }
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(registry), None),
        },
    };
    if let Some(port) = port
        && (port.is_empty() || !port.bytes().all(|c| c.is_ascii_digit()))
    {
        return Err((registry.len() - port.len(), "the port of the registry is not a number"));
    }
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
    };
    match host {
        Some(host) if !host.split('.').all(label) => {
            Err((0, "the host of the registry is not a host name"))
        }
        _ => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), Trouble> {
    let mut at = 0;
    for part in path.split('/') {
        check_part(part).map_err(|(i, problem)| (at + i, problem))?;
        at += part.len() + 1;
    }
    Ok(())
}

/// Lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn check_part(part: &str) -> Result<(), Trouble> {
    if part.is_empty() {
        return Err((0, "a part between slashes is empty"));
    }
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |c: char| matches!(c, '.' | '_' | '-');
    if let Some((at, c)) = part.char_indices().find(|&(_, c)| !legal(c) && !separator(c)) {
        return Err((
            at,
            if c.is_uppercase() {
                "it has an upper-case letter"
            } else {
                "it has a character that is not allowed"
            },
        ));
    }
    if !part.starts_with(legal) {
        return Err((0, "a part must begin with a letter or a digit"));
    }
    if !part.ends_with(legal) {
        return Err((part.len() - 1, "a part must end with a letter or a digit"));
    }
    let mut at = 0;
    for run in part.split(legal) {
        if !matches!(run, "" | "." | "_" | "__") && !run.bytes().all(|c| c == b'-') {
            let at = part[at..].find(run).map_or(at, |i| at + i);
            return Err((at, "between letters only `.`, `_`, `__` or dashes may stand"));
        }
        at += run.len();
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), Trouble> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if tag.is_empty() {
        return Err((0, "the tag is empty"));
    }
    if tag.len() > TAG_MAX {
        return Err((TAG_MAX, "the tag is longer than 128 characters"));
    }
    if !tag.starts_with(word) {
        return Err((0, "a tag must begin with a letter, a digit or `_`"));
    }
    match tag.find(|c: char| !word(c) && c != '.' && c != '-') {
        Some(at) => Err((at, "the tag has a character that is not allowed")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, registry: &str, path: &str, tag: Option<&str>) {
        let image = ImageRef::parse(text).unwrap();
        assert_eq!((image.registry(), image.repository(), image.tag()), (registry, path, tag));
        assert_eq!(ImageRef::parse(&image.to_string()).unwrap(), image);
    }

    #[test]
    fn names_are_taken_apart_as_docker_does() {
        check("busybox", "docker.io", "library/busybox", None);
        check("busybox:1.36", "docker.io", "library/busybox", Some("1.36"));
        check("docker.io/busybox", "docker.io", "library/busybox", None);
        check("index.docker.io/library/busybox", "docker.io", "library/busybox", None);
        check("caicloud/cyclone", "docker.io", "caicloud/cyclone", None);
        check("localhost/x", "localhost", "x", None);
        check("localhost:5000/a/b/c:t", "localhost:5000", "a/b/c", Some("t"));
        check("localhost:5000", "docker.io", "library/localhost", Some("5000"));
        check("[::1]:5000/a", "[::1]:5000", "a", None);
        check("[fc00::1]/a", "[fc00::1]", "a", None);
        check("Registry/a", "Registry", "a", None);
        check("r.io/a__b/c--d/e.f_g", "r.io", "a__b/c--d/e.f_g", None);
        check("containerops.me/cts/example", "containerops.me", "cts/example", None);
        check("xn--n3h.com/a:_-.", "xn--n3h.com", "a", Some("_-."));
        check(&format!("a:{}", "t".repeat(128)), "docker.io", "library/a", Some(&"t".repeat(128)));
        check(&"a".repeat(63), "docker.io", &format!("library/{}", "a".repeat(63)), None);
    }

    #[test]
    fn forms_are_told_apart() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let image = ImageRef::parse(&format!("r.io/a:t@{digest}")).unwrap();
        assert_eq!(image.to_string(), format!("r.io/a:t@{digest}"));
        assert_eq!(image.digest().unwrap().as_str(), digest);
        assert_eq!(image.with_tag("u").unwrap().to_string(), "r.io/a:u");
        assert_eq!(image.without_tag().canonical(), "r.io/a:latest");
        let hub = ImageRef::parse("docker.io/library/a").unwrap();
        assert_eq!(
            (hub.to_string(), hub.canonical()),
            ("a".into(), "docker.io/library/a:latest".into())
        );
        assert!(hub.with_tag("a b").is_err());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (bad, at, suggestion) in [
            ("", 0, None),
            ("Foo", 0, Some("foo")),
            ("localhost:5000/Ab/c:T", 15, Some("localhost:5000/ab/c:T")),
            ("https://r.io/a", 0, Some("r.io/a")),
            ("a:", 2, None),
            ("a: b", 2, None),
            ("a:b:c", 3, None),
            ("a//b", 2, None),
            ("/a", 0, None),
            ("a/", 2, None),
            ("-a", 0, None),
            ("a-", 1, None),
            ("a..b", 1, None),
            ("a___b", 1, None),
            ("a@sha256:1", 2, None),
            ("a:.t", 2, None),
            ("r.io:x/a", 5, None),
            ("-r.io/a", 0, None),
            ("[::1/a", 0, None),
            ("aü", 1, None),
        ] {
            let e = ImageRef::parse(bad).unwrap_err();
            assert_eq!((e.at, e.suggestion.as_deref()), (at, suggestion), "{bad}: {e}");
        }
        assert!(ImageRef::parse(&"a".repeat(64)).is_err());
        assert!(ImageRef::parse(&format!("r.io/{}", "a".repeat(251))).is_err());
        assert!(ImageRef::parse(&format!("r.io/{}", "a".repeat(250))).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_comes_back(text in "[a-zA-Z0-9./:@_\\[\\]ü -]{0,40}") {
            if let Ok(image) = ImageRef::parse(&text) {
                prop_assert_eq!(&ImageRef::parse(&image.to_string()).unwrap(), &image);
                prop_assert_eq!(&ImageRef::parse(&image.canonical()).unwrap().path, &image.path);
            }
        }

        #[test]
        fn every_text_is_answered(text in "\\PC*") {
            let _ = ImageRef::parse(&text);
        }
    }
}
