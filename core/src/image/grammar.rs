//! The grammar of the parts of a name.

/// The registry that a name without one belongs to.
pub(super) const DOCKER_HUB: &str = "docker.io";
/// The longest tag.
const TAG_MAX: usize = 128;

/// Takes the registry off a name, if its first part is one.
pub(super) fn split_registry(name: &str) -> (Option<&str>, &str) {
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

/// Writes out what Docker adds: the registry `docker.io` and, there, the owner `library`.
pub(super) fn normal(registry: Option<&str>, path: &str) -> (Box<str>, Box<str>) {
    match registry {
        Some(r) if r != DOCKER_HUB && r != "index.docker.io" => (r.into(), path.into()),
        _ if path.contains('/') => (DOCKER_HUB.into(), path.into()),
        _ => (DOCKER_HUB.into(), format!("library/{path}").into()),
    }
}

/// The byte at which something is wrong, and what.
pub(super) type Trouble = (usize, &'static str);

pub(super) fn check_registry(registry: &str) -> Result<(), Trouble> {
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

pub(super) fn check_path(path: &str) -> Result<(), Trouble> {
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

pub(super) fn check_tag(tag: &str) -> Result<(), Trouble> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if tag.is_empty() {
        return Err((0, "the tag is empty"));
    }
    if tag.len() > TAG_MAX {
        return Err((tag.floor_char_boundary(TAG_MAX), "the tag is longer than 128 characters"));
    }
    if !tag.starts_with(word) {
        return Err((0, "a tag must begin with a letter, a digit or `_`"));
    }
    match tag.find(|c: char| !word(c) && c != '.' && c != '-') {
        Some(at) => Err((at, "the tag has a character that is not allowed")),
        None => Ok(()),
    }
}

/// Whether a name without registry and tag would be taken for the id of an image.
pub(super) fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}
