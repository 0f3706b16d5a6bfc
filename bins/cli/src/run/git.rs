//! What the `.git` of a directory says of it. Its files are read and nothing else is done: no hook,
//! no filter and no program of its configuration is run.

use kiln_wercker::plan::Git;
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// The longest file of `.git` that is read.
const BYTES_MAX: u64 = 32 << 20;
/// How many directories above are looked at for a repository.
const PARENTS_MAX: usize = 64;

/// Where a repository keeps what it knows.
struct Repository {
    /// What belongs to this working tree: `HEAD`.
    own: PathBuf,
    /// What all working trees share: references and the configuration.
    shared: PathBuf,
}

/// What is known of the repository that a directory is in; nothing where there is none.
pub(crate) fn facts(dir: &Path) -> Git {
    let found = dir.ancestors().take(PARENTS_MAX).find_map(Repository::at);
    found.map(|repository| repository.facts()).unwrap_or_default()
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.metadata().ok().filter(|about| about.is_file())?;
    file.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

impl Repository {
    fn at(dir: &Path) -> Option<Self> {
        let git = dir.join(".git");
        let own = if git.is_dir() {
            git
        } else {
            // A working tree of its own, or a module: the file says where the rest is.
            dir.join(read(&git)?.strip_prefix("gitdir:")?.trim())
        };
        own.join("HEAD").is_file().then(|| {
            let shared = read(&own.join("commondir")).map(|text| own.join(text.trim()));
            Self { shared: shared.unwrap_or_else(|| own.clone()), own }
        })
    }

    fn facts(&self) -> Git {
        let head = read(&self.own.join("HEAD")).unwrap_or_default();
        let head = head.trim();
        let packed = read(&self.shared.join("packed-refs")).unwrap_or_default();
        let name = head.strip_prefix("ref:").map(str::trim);
        let commit = match name {
            Some(name) => self.reference(name, &packed),
            None => is_commit(head).then(|| head.to_owned()),
        };
        let url = read(&self.shared.join("config")).and_then(|config| origin(&config));
        let (domain, owner, repository) = url.as_deref().map(parts).unwrap_or_default();
        Git {
            domain,
            owner,
            repository,
            branch: name.and_then(|name| name.strip_prefix("refs/heads/")).map(str::to_owned),
            tag: commit.as_deref().and_then(|commit| self.tag(commit, &packed)),
            commit,
        }
    }

    /// The commit that a reference names.
    fn reference(&self, name: &str, packed: &str) -> Option<String> {
        let sane = name.starts_with("refs/") && !name.split('/').any(|part| part == "..");
        let loose = sane.then(|| read(&self.shared.join(name))).flatten();
        let loose = loose.map(|text| text.trim().to_owned()).filter(|text| is_commit(text));
        loose.or_else(|| {
            let line = packed.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' '));
            line.filter(|commit| is_commit(commit)).map(str::to_owned)
        })
    }

    /// A tag of a commit: one that names it itself, or whose note in `packed-refs` does.
    fn tag(&self, commit: &str, packed: &str) -> Option<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.shared.join("refs/tags"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| read(&entry.path()).is_some_and(|text| text.trim() == commit))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        let mut last = None;
        for line in packed.lines() {
            let tag = line.split_once(" refs/tags/");
            if tag.is_some_and(|(id, _)| id == commit) || line.strip_prefix('^') == Some(commit) {
                names.extend(tag.map(|(_, name)| name.to_owned()).or(last.take()));
            }
            last = tag.map(|(_, name)| name.to_owned());
        }
        names.into_iter().min()
    }
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The URL of the remote `origin` in a configuration.
fn origin(config: &str) -> Option<String> {
    let mut here = false;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            here = line == "[remote \"origin\"]";
        } else if let Some((key, value)) = line.split_once('=')
            && here
            && key.trim() == "url"
        {
            return Some(value.trim().trim_matches('"').to_owned());
        }
    }
    None
}

/// The host, the owner and the name that are in the address of a repository: never a login.
fn parts(url: &str) -> (Option<String>, Option<String>, Option<String>) {
    let (place, path) = match url.split_once("://") {
        Some(("file", _)) => return (None, None, name(url)),
        Some((_, rest)) => rest.split_once('/').unwrap_or((rest, "")),
        None => match url.split_once(':') {
            Some((place, path)) if !place.contains('/') => (place, path),
            _ => return (None, None, name(url)),
        },
    };
    let host = place.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let path = path.trim_matches('/');
    let owner = path.rsplit_once('/').map(|(owner, _)| owner.to_owned());
    let host = Some(host.to_owned()).filter(|host| !host.is_empty());
    (host, owner.filter(|owner| !owner.is_empty()), name(path))
}

fn name(path: &str) -> Option<String> {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let last = last.strip_suffix(".git").unwrap_or(last);
    Some(last.to_owned()).filter(|last| !last.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn put(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_branch_is_known_with_its_commit_its_tag_and_where_it_came_from() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(root, ".git/HEAD", "ref: refs/heads/feature/x\n");
        put(root, ".git/refs/heads/feature/x", &format!("{ONE}\n"));
        put(root, ".git/refs/tags/v2", &format!("{ONE}\n"));
        put(root, ".git/refs/tags/v3", &format!("{TWO}\n"));
        let config =
            "[core]\n\turl = no\n[remote \"origin\"]\n\turl = git@example.com:ann/app.git\n";
        put(root, ".git/config", config);
        let text = |text: &str| Some(text.to_owned());
        let known = Git {
            domain: text("example.com"),
            owner: text("ann"),
            repository: text("app"),
            branch: text("feature/x"),
            tag: text("v2"),
            commit: text(ONE),
        };
        fs::create_dir_all(root.join("deep/er")).unwrap();
        assert_eq!(facts(&root.join("deep/er")), known);
        fs::remove_dir_all(root.join(".git/refs")).unwrap();
        let packed =
            format!("# pack-refs\n{ONE} refs/heads/feature/x\n{TWO} refs/tags/v9\n^{ONE}\n");
        put(root, ".git/packed-refs", &packed);
        assert_eq!(facts(root), Git { tag: text("v9"), ..known });
    }

    #[test]
    fn a_working_tree_of_its_own_and_a_lone_commit_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(root, "main/.git/refs/heads/w", ONE);
        put(root, "main/.git/worktrees/w/HEAD", "ref: refs/heads/w\n");
        put(root, "main/.git/worktrees/w/commondir", "../..\n");
        put(root, "w/.git", "gitdir: ../main/.git/worktrees/w\n");
        let known = facts(&root.join("w"));
        assert_eq!((known.branch.as_deref(), known.commit.as_deref()), (Some("w"), Some(ONE)));
        put(root, "lone/.git/HEAD", TWO);
        let known = facts(&root.join("lone"));
        assert_eq!((known.branch, known.commit.as_deref()), (None, Some(TWO)));
        put(root, "odd/.git/HEAD", "ref: refs/../../../etc/passwd\n");
        assert_eq!(facts(&root.join("odd")), Git::default());
    }

    #[test]
    fn an_address_is_taken_apart_without_its_login() {
        let all = |url: &str| {
            let (host, owner, name) = parts(url);
            [host, owner, name].map(Option::unwrap_or_default).join(" ")
        };
        assert_eq!(all("https://user:hunter2@example.com:8443/a/b.git"), "example.com a b");
        assert_eq!(all("ssh://git@example.com:22/a/b/c"), "example.com a/b c");
        assert_eq!(all("git@example.com:a/b.git"), "example.com a b");
        assert_eq!(all("/srv/git/b.git"), "  b");
        assert_eq!(all("file:///srv/git/b.git"), "  b");
        assert_eq!(all("https://example.com"), "example.com  ");
    }
}
