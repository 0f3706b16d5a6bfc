//! The name of a cache: what builds leave for later builds of the same owner.

use crate::{BuildId, Owner};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// What the ids begin with that caches have in an artifact store.
const PREFIX: &str = "cache-";
/// How many digits of a hash follow: as many as an id has room for.
const DIGITS: usize = 58;

/// The name of a cache among those of one owner: 1 to 128 ASCII letters, digits, `.`, `_`, `-` and
/// `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CacheKey(Box<str>);

/// Why a text is not the name of a cache.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of a cache: use 1 to 128 letters, digits and the marks `.`, `_`, `-`, `/`"
)]
pub struct CacheKeyError(String);

impl CacheKey {
    /// The name of the archive that is the cache, among the artifacts of its id.
    pub const ARCHIVE: &str = "cache.tar";

    /// Checks and takes a name.
    pub fn new(name: impl AsRef<str>) -> Result<Self, CacheKeyError> {
        let name = name.as_ref();
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        if name.is_empty() || name.len() > 128 || !name.chars().all(legal) {
            return Err(CacheKeyError(name.chars().take(80).collect()));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id under which an artifact store keeps this cache of an owner: `cache-` and the first 58
    /// hexadecimal digits of the SHA-256 of the owner, a zero byte and the name.
    pub fn build(&self, owner: &Owner) -> BuildId {
        let mut hash = Sha256::new();
        hash.update(owner.as_str());
        hash.update([0]);
        hash.update(&*self.0);
        let digits: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        BuildId::new(format!("{PREFIX}{}", &digits[..DIGITS])).expect("letters and digits only")
    }

    /// Whether an id is one of a cache, which no build may have.
    pub fn is_reserved(build: &BuildId) -> bool {
        let digits = build.as_str().strip_prefix(PREFIX);
        digits.is_some_and(|d| d.len() == DIGITS && d.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CacheKey {
    type Err = CacheKeyError;

    fn from_str(name: &str) -> Result<Self, CacheKeyError> {
        Self::new(name)
    }
}

impl TryFrom<String> for CacheKey {
    type Error = CacheKeyError;

    fn try_from(name: String) -> Result<Self, CacheKeyError> {
        Self::new(name)
    }
}

impl From<CacheKey> for String {
    fn from(name: CacheKey) -> Self {
        name.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for bad in ["", "a b", "ü", "a\0", "a:b", &"a".repeat(129)] {
            assert!(CacheKey::new(bad).is_err(), "{bad}");
        }
        for good in ["a", "../x", "github.com/ann/app", &"a".repeat(128)] {
            assert_eq!(CacheKey::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_cache_has_an_id_that_is_its_owners_alone() {
        let key = |k| CacheKey::new(k).unwrap();
        let owner = |o| Owner::new(o).unwrap();
        let build = key("app").build(&owner("ann"));
        assert_eq!(
            build.as_str(),
            "cache-995c69dadd66dea29804ccae60e42706a526c1e8688238977c7787b68b"
        );
        assert!(CacheKey::is_reserved(&build));
        assert_ne!(build, key("app").build(&owner("bob")));
        assert_ne!(key("ab").build(&owner("c")), key("b").build(&owner("ca")));
        for free in ["cache-1", "cache", "b1", &build.as_str()[..63]] {
            assert!(!CacheKey::is_reserved(&BuildId::new(free).unwrap()), "{free}");
        }
    }
}
