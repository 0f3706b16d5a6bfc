//! How Kiln's own things are told from foreign ones: by labels, and names that say the same.

use kiln::{BoxName, BuildId, DriverId, Error, ErrorKind, IdError, NodeId, Result};
use std::{collections::HashMap, fmt, io, path::Path};

/// Whose container, network or volume it is; see [`HomeId`].
pub(crate) const HOME: &str = "dev.kiln.home";
/// For which build.
pub(crate) const BUILD: &str = "dev.kiln.build";
/// For which box of the build; a service belongs to its box.
pub(crate) const BOX: &str = "dev.kiln.box";
/// Which service it is; empty for a box itself.
pub(crate) const SERVICE: &str = "dev.kiln.service";
/// The user that commands of a box run as by default.
pub(crate) const USER: &str = "dev.kiln.user";

/// The identity of a place where builds are remembered, such as a data directory.
///
/// Two places may share an engine: neither touches what the other made there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HomeId(NodeId);

impl HomeId {
    /// Checks and takes a text: 1 to 64 ASCII letters, digits, `-`, `_` and `.`.
    pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
        Ok(Self(NodeId::new(text)?))
    }

    /// The identity that a file keeps; a random one is written there if the file does not exist.
    /// Of two that do so at once, both get the same.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the file holds something else, `Unexpected` if it cannot be used.
    pub fn kept_in(path: &Path) -> Result<Self> {
        match read(path)? {
            Some(id) => Ok(id),
            None => {
                let id = DriverId::random();
                let unfinished = path.with_extension(id.as_str());
                // A link appears with its content, and never replaces one that is there.
                let made = std::fs::write(&unfinished, format!("{id}\n"))
                    .and_then(|()| std::fs::hard_link(&unfinished, path));
                // A failure leaves a small file that nobody reads.
                let _ = std::fs::remove_file(&unfinished);
                match made {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(unusable(path, &e)),
                    _ => read(path)?.ok_or_else(|| unusable(path, &io::ErrorKind::NotFound.into())),
                }
            }
        }
    }

    /// The text of the identity.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for HomeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn read(path: &Path) -> Result<Option<HomeId>> {
    match std::fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unusable(path, &e)),
        Ok(text) => HomeId::new(text.trim()).map(Some).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "HomeId::kept_in", "the file holds no identity")
                .with("path", path.display())
                .source(e)
                .hint("Remove the file if no build is running: a new one will be made.")
        }),
    }
}

fn unusable(path: &Path, e: &io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "HomeId::kept_in", "the identity cannot be read or kept")
        .with("path", path.display())
        .source(e.to_string())
}

/// A box of a build of a home, as its labels and names say it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) home: HomeId,
    pub(crate) build: BuildId,
    pub(crate) in_box: BoxName,
}

impl Place {
    /// The labels of the box, or of a service beside it.
    pub(crate) fn labels(&self, service: Option<&BoxName>) -> HashMap<String, String> {
        // The service is always said: an image could bring a label of that name.
        let service = service.map_or("", BoxName::as_str);
        let pairs = [
            (HOME, self.home.as_str()),
            (BUILD, self.build.as_str()),
            (BOX, self.in_box.as_str()),
            (SERVICE, service),
        ];
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    /// The name of the box's container and network, or of a service's container.
    ///
    /// The digits at its end keep apart what the marks inside of names would run together.
    pub(crate) fn name(&self, service: Option<&BoxName>) -> String {
        let service = service.map_or("", BoxName::as_str);
        let parts = [self.home.as_str(), self.build.as_str(), self.in_box.as_str(), service];
        let text = [parts[1], parts[2], parts[3]].join("-");
        format!("kiln-{}-{:08x}", text.trim_end_matches('-'), hash(&parts))
    }

    /// Whether labels are those of the box, or of a service beside it.
    pub(crate) fn owns(
        &self,
        labels: Option<&HashMap<String, String>>,
        service: Option<&BoxName>,
    ) -> bool {
        self.labels(service).iter().all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
    }
}

/// What a list is filtered by: the labels of a home, and of one build of it.
pub(crate) fn filter(home: &HomeId, build: Option<&BuildId>) -> HashMap<String, Vec<String>> {
    let mut labels = vec![format!("{HOME}={home}")];
    labels.extend(build.map(|build| format!("{BUILD}={build}")));
    HashMap::from([("label".to_owned(), labels)])
}

/// Whether a thing with these labels has a name that Kiln gives. A container of an image that has
/// such labels has the labels, but not the name.
pub(crate) fn is_named(name: &str, labels: Option<&HashMap<String, String>>) -> bool {
    let label = |key| labels.and_then(|l| l.get(key)).map_or("", String::as_str);
    let (Ok(home), Ok(build), Ok(in_box)) =
        (HomeId::new(label(HOME)), BuildId::new(label(BUILD)), BoxName::new(label(BOX)))
    else {
        return false;
    };
    let service = BoxName::new(label(SERVICE)).ok();
    Place { home, build, in_box }.name(service.as_ref()) == name.trim_start_matches('/')
}

/// FNV-1a, 64 bits folded to 32. The same in every version: names outlive the process.
fn hash(parts: &[&str]) -> u32 {
    let bytes = parts.iter().flat_map(|p| p.bytes().chain([0]));
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(build: &str, in_box: &str) -> Place {
        Place {
            home: HomeId::new("home").unwrap(),
            build: BuildId::new(build).unwrap(),
            in_box: BoxName::new(in_box).unwrap(),
        }
    }

    #[test]
    fn names_are_kept_apart_and_never_change() {
        assert_ne!(place("a-b", "c").name(None), place("a", "b-c").name(None));
        let service = BoxName::new("c").unwrap();
        assert_ne!(place("a", "b").name(Some(&service)), place("a", "b-c").name(None));
        // Stored in engines: a new version has to find what an older one made.
        assert_eq!(place("b1", "main").name(None), "kiln-b1-main-c9fe3481");
    }

    #[test]
    fn only_what_is_named_as_its_labels_say_is_ours() {
        let place = place("b1", "main");
        let labels = place.labels(None);
        assert!(is_named(&format!("/{}", place.name(None)), Some(&labels)));
        assert!(!is_named("/somebody", Some(&labels)));
        assert!(!is_named(&place.name(None), None));
        assert!(!place.owns(Some(&labels), Some(&BoxName::new("db").unwrap())));
    }

    #[test]
    fn a_home_keeps_its_identity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        let made = std::thread::scope(|s| {
            let threads: Vec<_> =
                (0..4).map(|_| s.spawn(|| HomeId::kept_in(&path).unwrap())).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(made.iter().all(|id| *id == made[0]), "{made:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        std::fs::write(&path, "a b").unwrap();
        assert_eq!(HomeId::kept_in(&path).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
