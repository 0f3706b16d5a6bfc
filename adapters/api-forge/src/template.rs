//! Texts with placeholders, and names of images that are legal whatever is put in.

use kiln::{Error, ErrorKind, ImageRef, Result};
use sha2::{Digest, Sha256};

/// How much of a branch or tag goes into the tag of an image: with the mark for what was changed,
/// two of them fit into the 128 characters a tag may have.
const HOLE_MAX: usize = 50;
/// What stands between the letters of a name.
const SEPARATORS: [char; 4] = ['/', '-', '_', '.'];
/// The longest value of a label.
const LABEL_MAX: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    Branch,
    Tag,
    Commit,
    Short,
    Repo,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(Hole),
}

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

/// What there is to put in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values<'a> {
    pub(crate) branch: Option<&'a str>,
    pub(crate) tag: Option<&'a str>,
    pub(crate) commit: &'a str,
    pub(crate) repo: &'a str,
}

impl Values<'_> {
    fn of(&self, hole: Hole) -> Option<&str> {
        match hole {
            Hole::Branch => self.branch,
            Hole::Tag => self.tag,
            Hole::Commit => Some(self.commit),
            Hole::Short => Some(self.commit.get(..12).unwrap_or(self.commit)),
            Hole::Repo => Some(self.repo),
        }
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, "hooks", message)
}

impl Template {
    pub(crate) fn new(text: &str) -> Result<Self> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            parts.push(Part::Text(before.to_owned()));
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| invalid(format!("`{text}` has a brace that is not closed")))?;
            parts.push(Part::Hole(match name {
                "branch" => Hole::Branch,
                "tag" => Hole::Tag,
                "commit" => Hole::Commit,
                "short" => Hole::Short,
                "repo" => Hole::Repo,
                _ => {
                    let known = "{branch}, {tag}, {commit}, {short} and {repo}";
                    return Err(invalid(format!("there is no placeholder `{{{name}}}`"))
                        .hint(format!("There are {known}.")));
                }
            }));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// The text with `{repo}` alone filled in; an error if another placeholder is there.
    pub(crate) fn only_repo(&self) -> Result<()> {
        let other = |p: &Part| matches!(p, Part::Hole(hole) if *hole != Hole::Repo);
        match self.0.iter().any(other) {
            true => Err(invalid("only `{repo}` has a place in the address of a source".into())),
            false => Ok(()),
        }
    }

    /// The text, just as the values are; none if one is missing.
    pub(crate) fn fill(&self, values: &Values<'_>) -> Option<String> {
        self.with(|hole| values.of(hole).map(str::to_owned))
    }

    /// The text as the value of a label: bounded, and without control characters.
    pub(crate) fn fill_label(&self, values: &Values<'_>) -> Option<String> {
        self.fill(values).map(|text| label(&text))
    }

    fn with(&self, value: impl Fn(Hole) -> Option<String>) -> Option<String> {
        let part = |part: &Part| match part {
            Part::Text(text) => Some(text.clone()),
            Part::Hole(hole) => value(*hole),
        };
        self.0.iter().map(part).collect()
    }
}

/// A text as the value of a label.
pub(crate) fn label(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut out = String::new();
    for c in clean {
        if out.len() + c.len_utf8() > LABEL_MAX {
            break;
        }
        out.push(c);
    }
    out
}

/// The name of an image with placeholders.
#[derive(Clone, Debug)]
pub(crate) struct ImageTemplate {
    name: Template,
    tag: Template,
}

impl ImageTemplate {
    /// Checks where the placeholders are: what a forge tells never chooses the registry.
    pub(crate) fn new(text: &str) -> Result<Self> {
        let slash = text.rfind('/').map_or(0, |i| i + 1);
        let colon = text[slash..].find(':').ok_or_else(|| {
            invalid(format!("`{text}` has no tag")).hint("Write one, such as `:{branch}`.")
        })?;
        let (name, tag) = (&text[..slash + colon], &text[slash + colon + 1..]);
        let has = |part: &str| part.contains('{');
        if has(name.split('/').next().unwrap_or_default()) {
            let message =
                format!("`{text}` begins with a placeholder, which would choose the registry");
            return Err(invalid(message));
        }
        let (name, tag) = (Template::new(name)?, Template::new(tag)?);
        let misplaced = name.only_repo().is_err() || tag.0.contains(&Part::Hole(Hole::Repo));
        if misplaced {
            let message = format!("`{text}` has a placeholder in the wrong place");
            return Err(
                invalid(message).hint("`{repo}` belongs into the name, all others into the tag.")
            );
        }
        let template = Self { name, tag };
        // As long as they get, so that no branch makes the name too long.
        let (commit, long) = ("0".repeat(64), "x".repeat(HOLE_MAX + 1));
        let values =
            Values { branch: Some(&long), tag: Some(&long), commit: &commit, repo: "acme/app" };
        match template.fill(&values) {
            Some(Ok(_)) => Ok(template),
            Some(Err(e)) => Err(e),
            None => Err(invalid(format!("`{text}` cannot be filled in"))),
        }
    }

    /// The name of an image; none if a placeholder has nothing to stand for.
    pub(crate) fn fill(&self, values: &Values<'_>) -> Option<Result<ImageRef>> {
        let name = self.name.with(|_| Some(path(values.repo)))?;
        let tag = self.tag.with(|hole| values.of(hole).map(tag_part))?;
        let text = format!("{name}:{tag}");
        Some(ImageRef::parse(&text).map_err(|e| invalid(e.to_string())))
    }
}

/// A mark that tells apart what would become the same.
fn mark(original: &str) -> String {
    let hash = Sha256::digest(original);
    hash[..4].iter().map(|b| format!("{b:02x}")).collect()
}

/// A branch or tag as part of an image's tag. What had to be changed ends in a mark, so that no
/// two branches share a tag: `a/b` is not `a-b`.
fn tag_part(text: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let changed: String = text.chars().map(|c| if legal(c) { c } else { '-' }).collect();
    let changed = changed.trim_start_matches(['.', '-']);
    let short = &changed[..changed.len().min(HOLE_MAX)];
    match short {
        "" => mark(text),
        _ if short == text => short.to_owned(),
        _ => format!("{short}-{}", mark(text)),
    }
}

/// The name of a repository as part of an image's: lower case, as forges do not tell cases apart.
fn path(repo: &str) -> String {
    let lower = repo.to_ascii_lowercase();
    let mut out = String::new();
    for c in lower.chars() {
        match c {
            _ if c.is_ascii_alphanumeric() => out.push(c),
            // No part is empty, and none begins or ends with a mark, or has two in a row.
            '/' => out.truncate(out.trim_end_matches(SEPARATORS).len()),
            _ if out.is_empty() || out.ends_with(SEPARATORS) => {}
            '-' | '_' | '.' => out.push(c),
            _ => out.push('-'),
        }
        if c == '/' && !out.is_empty() {
            out.push('/');
        }
    }
    out.truncate(out.trim_end_matches(SEPARATORS).len());
    match out.as_str() {
        _ if out == lower => out,
        "" => mark(&lower),
        _ => format!("{out}-{}", mark(&lower)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn filled(template: &str, branch: &str, repo: &str) -> String {
        let values = Values { branch: Some(branch), tag: None, commit: COMMIT, repo };
        ImageTemplate::new(template).unwrap().fill(&values).unwrap().unwrap().to_string()
    }

    #[test]
    fn what_is_legal_stays_as_it_is() {
        let tag = filled("hub.test:5000/{repo}:{branch}-{short}", "v1.2_x", "Acme/App");
        assert_eq!(tag, "hub.test:5000/acme/app:v1.2_x-0123456789ab");
    }

    #[test]
    fn what_is_changed_is_marked_and_stays_apart() {
        let names = ["a/b", "a-b", "a b", "$(id)", "--upload-pack", "..", "-", "ü", "größe", "/"];
        let long = "x".repeat(300);
        let all: Vec<String> = names
            .iter()
            .chain([&long.as_str(), &long[1..].as_ref()])
            .map(|branch| filled("app:{branch}-{commit}", branch, "a/b"))
            .map(|t| t.split_once(':').unwrap().1.to_owned())
            .collect();
        let mut apart = all.clone();
        apart.sort();
        apart.dedup();
        assert_eq!(apart.len(), all.len(), "{all:?}");
        assert!(filled("app:{branch}", "$(id)", "a/b").starts_with("app:id-"), "{all:?}");
    }

    #[test]
    fn any_branch_and_repository_make_a_legal_name() {
        let odd =
            ["", "-", "_._", "a//b", "a--b__c..d", "ü/é", "A/B-", ".git", "a/.b/-c-", "\u{0}"];
        for text in odd.iter().chain(&["x/".repeat(40).as_str()]) {
            filled("hub.test/{repo}x:{branch}", text, text);
            filled("hub.test/team/x{repo}:v{branch}", text, text);
        }
    }

    #[test]
    fn a_placeholder_never_chooses_the_registry() {
        for bad in [
            "{repo}:1",
            "{repo}/app:1",
            "hub.test/app",
            "hub.test/{branch}:1",
            "a/b:{repo}",
            "a:{nothing}",
            "a:{branch",
            "a/b:x:{branch}y z",
            "a/b:{branch}{tag}{commit}",
        ] {
            let error = ImageTemplate::new(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
        }
    }

    #[test]
    fn a_template_with_nothing_to_put_in_is_left_out() {
        let values = Values { branch: Some("main"), tag: None, commit: COMMIT, repo: "a/b" };
        assert!(ImageTemplate::new("app:{tag}").unwrap().fill(&values).is_none());
    }

    #[test]
    fn labels_are_bounded_and_have_no_control_characters() {
        let text = label(&format!("a\r\nb{}", "é".repeat(1000)));
        assert!(text.starts_with("a  b") && text.len() <= LABEL_MAX, "{}", text.len());
    }
}
