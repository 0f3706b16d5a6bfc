use super::{
    Digest, ImageRefError,
    grammar::{DOCKER_HUB, check_path, check_registry, check_tag, is_id, normal, split_registry},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest repository, without the registry.
const PATH_MAX: usize = 255;

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

impl ImageRef {
    /// Parses a name, in its short or its long form.
    pub fn parse(text: &str) -> Result<Self, ImageRefError> {
        let fail = |(at, problem), meant: Option<String>| {
            let meant = meant.filter(|m| m != text && Self::parse(m).is_ok());
            Err(ImageRefError::new(text, at, problem, meant))
        };
        if text.is_empty() {
            return fail((0, "it is empty"), None);
        }
        if let Some((_, rest)) = text.rsplit_once("://") {
            let host = rest.split('/').next().unwrap_or_default();
            let login = host.rfind('@').map_or(0, |at| at + 1);
            let meant = rest[login..].trim_end_matches('/');
            let meant = Self::parse(meant).map_or_else(|e| e.suggestion, |_| Some(meant.into()));
            return fail((0, "a name has no scheme; leave it out"), meant);
        }
        if let Some(at) = text.find(|c: char| c.is_whitespace() || c.is_control()) {
            let meant = text.split_whitespace().collect();
            return fail((at, "it has white space or a control character"), Some(meant));
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => match Digest::parse(digest) {
                Ok(digest) => (rest, Some(digest)),
                Err(_) => return fail((rest.len() + 1, "what follows `@` is not a digest"), None),
            },
        };
        let slash = rest.rfind('/').map_or(0, |i| i + 1);
        let (name, tag) = match rest[slash..].find(':') {
            // `host:port` alone is a path `host` with a tag, as Docker has it.
            Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
            None => (rest, None),
        };
        if let Some(Err((at, problem))) = tag.map(check_tag) {
            let meant = (tag == Some("")).then(|| format!("{name}{}", &text[rest.len()..]));
            return fail((name.len() + 1 + at, problem), meant);
        }
        let (registry, path) = split_registry(name);
        let path_at = name.len() - path.len();
        if let Some(Err(trouble)) = registry.map(check_registry) {
            return fail(trouble, None);
        }
        if let Err((at, problem)) = check_path(path) {
            let lower = path.to_lowercase();
            let meant = format!("{}{lower}{}", &name[..path_at], &text[name.len()..]);
            return fail((path_at + at, problem), Some(meant));
        }
        if is_id(text) {
            return fail((0, "64 hexadecimal digits are the id of an image, not a name"), None);
        }
        let (registry, path) = normal(registry, path);
        if path.len() > PATH_MAX {
            return fail((path_at, "the repository is longer than 255 characters"), None);
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
        check_tag(tag).map_err(|(at, problem)| ImageRefError::new(tag, at, problem, None))?;
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
        if &*self.registry != DOCKER_HUB {
            return format!("{}/{}", self.registry, self.path);
        }
        let official = self.path.strip_prefix("library/").filter(|rest| !rest.contains('/'));
        let short = official.unwrap_or(&self.path);
        // Without its registry, `docker.io/a.b/c` would be taken for `c` in the registry `a.b`.
        if is_id(short) || split_registry(short).0.is_some() {
            return format!("{DOCKER_HUB}/{short}");
        }
        short.into()
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
