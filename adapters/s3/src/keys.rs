//! The keys of a bucket; see `docs/formats.md`.
//!
//! They are made of build ids, digests and random digits only, so no name of an artifact is ever
//! part of a key: none is too long, leads elsewhere or means something to a server.

use kiln::{BuildId, port::ArtifactKey};
use object_store::path::Path;
use sha2::{Digest, Sha256};

/// Records of a build. They sort, and are removed, before the contents they name.
const RECORDS: &str = "artifacts";
const CONTENTS: &str = "contents";
/// Uploads on their way. No build id begins so.
const UPLOADS: &str = "_uploads";

/// What the ids of caches begin with.
const CACHES: &str = "cache-";

/// Makes the keys below a prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys(Path);

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self(Path::from(prefix))
    }

    /// Above all keys.
    pub(crate) fn all(&self) -> &Path {
        &self.0
    }

    /// Above the records of a build.
    pub(crate) fn records(&self, build: &BuildId) -> Path {
        self.0.clone().join(build.as_str()).join(RECORDS)
    }

    /// The record of an artifact.
    pub(crate) fn record(&self, key: &ArtifactKey) -> Path {
        self.records(&key.build).join(record_name(key.name.as_str()))
    }

    /// Above the contents of a build.
    pub(crate) fn contents(&self, build: &BuildId) -> Path {
        self.0.clone().join(build.as_str()).join(CONTENTS)
    }

    /// The bytes of an artifact.
    pub(crate) fn content(&self, build: &BuildId, id: &str) -> Path {
        self.contents(build).join(id)
    }

    /// Above the notes of uploads.
    pub(crate) fn uploads(&self) -> Path {
        self.0.clone().join(UPLOADS)
    }

    /// The note of an upload.
    pub(crate) fn upload(&self, id: &str) -> Path {
        self.uploads().join(id)
    }

    /// A key that sorts before those of all caches, and behind most others: a bucket may have very
    /// many.
    pub(crate) fn before_caches(&self) -> Path {
        self.0.clone().join(CACHES)
    }

    /// Whether the keys of a build come after those of all caches, so that no cache is to follow.
    pub(crate) fn is_after_caches(build: &BuildId) -> bool {
        build.as_str() > CACHES && !build.as_str().starts_with(CACHES)
    }

    /// The build whose content this is, if it is one.
    pub(crate) fn build_of(&self, path: &Path) -> Option<BuildId> {
        let rest: Vec<_> = path.prefix_match(&self.0)?.collect();
        match &rest[..] {
            [build, kind, _] if matches!(kind.as_ref(), RECORDS | CONTENTS) => {
                BuildId::new(build.as_ref()).ok()
            }
            _ => None,
        }
    }
}

/// The last part of the key of a record.
pub(crate) fn record_name(name: &str) -> String {
    hex(&Sha256::digest(name))
}

/// Random enough to be met never again: 32 hexadecimal digits.
pub(crate) fn unique() -> String {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).expect("the operating system always has random bits");
    hex(&bits)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
