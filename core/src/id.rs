//! Identifiers. No bare string or integer crosses a public boundary.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// Why a text is not an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {problem}")]
pub struct IdError {
    what: &'static str,
    text: String,
    problem: &'static str,
}

fn check(what: &'static str, text: &str, extra: &[char]) -> Result<(), IdError> {
    let fail = |problem| Err(IdError { what, text: text.chars().take(80).collect(), problem });
    if text.is_empty() {
        return fail("it is empty");
    }
    if text.len() > 64 {
        return fail("it is longer than 64 characters");
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return fail("it must start with a letter or a digit");
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(&c)) {
        return fail("only ASCII letters, digits and the marks `-`, `_` and `.` are allowed");
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a text: 1 to 64 ASCII letters, digits, `-`, `_` and `.`, the first
            /// a letter or a digit.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                check($what, text, &['-', '_', '.'])?;
                Ok(Self(text.into()))
            }

            /// The text of the identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().into()
            }
        }
    };
}

text_id!(
    /// One build, from request to outcome. Made by [`BuildId::random`] unless a frontend has its own.
    BuildId,
    "build id"
);
text_id!(
    /// One machine that can run builds.
    NodeId,
    "node id"
);
text_id!(
    /// One driver: a process, or a task in it, that drives builds. Two drivers never share one.
    DriverId,
    "driver id"
);
text_id!(
    /// Whoever a build belongs to. Fairness and visibility are by owner.
    Owner,
    "owner"
);
text_id!(
    /// The name of a box or a service inside one plan.
    BoxName,
    "box name"
);
text_id!(
    /// The name of a shell that commands of a box share, inside one box.
    SessionName,
    "session name"
);

text_id!(
    /// The name of a notifier of one server, or of several that share a store.
    NotifierName,
    "name of a notifier"
);

impl BuildId {
    /// Makes an id of 128 random bits, written as 32 lower-case hexadecimal digits.
    ///
    /// Random and not ordered by time, so that a short prefix is enough to name a build.
    pub fn random() -> Self {
        Self(random_hex().into())
    }
}

impl DriverId {
    /// Makes an id of 128 random bits, written as 32 lower-case hexadecimal digits.
    pub fn random() -> Self {
        Self(random_hex().into())
    }
}

impl Owner {
    /// The owner of builds that nobody else owns.
    pub fn local() -> Self {
        Self("local".into())
    }
}

fn random_hex() -> String {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).expect("the operating system always has random bits");
    bits.iter().map(|b| format!("{b:02x}")).collect()
}

/// The place of a step in its plan; the first step is 0.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct StepId(pub u16);

impl StepId {
    /// The place as an index into a slice of steps.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The place of an event in a build's journal; the first event is 1, and 0 is before all.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// The place `n` events later.
    pub fn plus(self, n: usize) -> Self {
        Self(self.0 + n as u64)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Names one attempt of one step of one build: the key under which every effect is idempotent.
///
/// Written `build/step/attempt`, for example on the label of a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StepKey {
    /// The build.
    pub build: BuildId,
    /// The step in its plan.
    pub step: StepId,
    /// The attempt, counted from 1.
    pub attempt: u8,
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.build, self.step, self.attempt)
    }
}

/// Milliseconds since the start of 1970 in UTC. It is told, and never decides anything.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This moment and a time after it.
    pub fn plus(self, time: std::time::Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_wherever_they_come_from() {
        for bad in ["", "-a", "a/b", "a b", "ü", &"a".repeat(65), "../x"] {
            assert!(BuildId::new(bad).is_err(), "{bad}");
            assert!(serde_json::from_str::<BuildId>(&format!("{bad:?}")).is_err(), "{bad}");
        }
        for good in ["a", "f96ab2530d17c08716d2850d17c08729", "B-1_x.y", &"9".repeat(64)] {
            assert_eq!(BuildId::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn random_ids_are_32_hex_digits_and_differ() {
        let (a, b) = (BuildId::random(), BuildId::random());
        assert_ne!(a, b);
        assert!(a.as_str().len() == 32 && a.as_str().bytes().all(|c| c.is_ascii_hexdigit()));
    }

    #[test]
    fn a_step_key_is_written_with_slashes() {
        let key = StepKey { build: BuildId::new("b").unwrap(), step: StepId(2), attempt: 3 };
        assert_eq!(key.to_string(), "b/2/3");
    }
}
