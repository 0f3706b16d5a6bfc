//! How long builds are kept.

use super::read::invalid;
use kiln::{CacheLimits, Owner, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Seconds.
const DAY: f64 = 86_400.0;

/// How long finished builds are kept, with their logs and artifacts, and caches. No build is forgotten
/// by default. A build is forgotten as soon as one of the limits says so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retention {
    /// How many days after its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) days: Option<f64>,
    /// How many of the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) builds: Option<u64>,
    /// How many bytes of logs and artifacts all of them may have; the oldest go first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    /// How many bytes the data directory may have, all told. The oldest finished builds go first;
    /// with none left, no build is taken and output is not kept until there is room again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk_bytes: Option<u64>,
    /// How many seconds pass between two looks.
    pub(crate) every_seconds: EverySeconds,
    /// How long caches are kept that pipelines left for later builds.
    pub(crate) caches: CacheRetention,
    /// Limits of some builds, beside those of all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rule: Vec<Rule>,
}

/// A minute by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct EverySeconds(pub(crate) u64);

impl Default for EverySeconds {
    fn default() -> Self {
        Self(60)
    }
}

/// Limits of caches, of all owners together. One that was used within the last hour is kept in any
/// case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CacheRetention {
    /// How many days after its last use.
    pub(crate) days: f64,
    /// How many bytes all of them may have; those go first that were not used for longest.
    pub(crate) bytes: u64,
}

impl Default for CacheRetention {
    fn default() -> Self {
        let CacheLimits { unused_max, bytes_max } = CacheLimits::default();
        Self { days: unused_max.as_secs_f64() / DAY, bytes: bytes_max }
    }
}

impl CacheRetention {
    pub(crate) fn limits(&self) -> CacheLimits {
        // A number of days beyond all time is for ever.
        let unused_max = Duration::try_from_secs_f64(self.days * DAY).unwrap_or(Duration::MAX);
        CacheLimits { unused_max, bytes_max: self.bytes }
    }
}

/// Limits of the builds that have this owner and this label, where they are named. Each such set
/// of builds is counted by itself: a rule for a label without a value counts each value apart, and
/// one without an owner each owner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<Owner>,
    /// `KEY` or `KEY=VALUE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) days: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) builds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
}

impl Retention {
    pub(super) fn check(&self) -> Result<()> {
        let days = self.rule.iter().map(|r| r.days).chain([self.days, Some(self.caches.days)]);
        let days = days.flatten();
        if days.into_iter().any(|d| !d.is_finite() || d < 0.0) {
            return Err(invalid("a number of days is negative, or no number"));
        }
        if self.every_seconds.0 == 0 {
            return Err(invalid("`retention.every_seconds` is 0"));
        }
        if self.rule.iter().any(|r| (r.days, r.builds, r.bytes) == (None, None, None)) {
            return Err(invalid("a rule of `retention` limits nothing")
                .hint("Give it `days`, `builds` or `bytes`."));
        }
        Ok(())
    }

    /// Whether builds are ever forgotten.
    pub(crate) fn is_limited(&self) -> bool {
        self.days.is_some()
            || self.builds.is_some()
            || self.bytes.is_some()
            || self.disk_bytes.is_some()
            || !self.rule.is_empty()
    }
}

/// Every setting with a value.
pub(super) fn example() -> Retention {
    Retention {
        days: Some(90.0),
        builds: Some(10_000),
        bytes: Some(1 << 40),
        disk_bytes: Some(1 << 40),
        every_seconds: EverySeconds::default(),
        caches: CacheRetention::default(),
        rule: vec![Rule {
            owner: Some(Owner::local()),
            label: Some("branch=main".into()),
            days: Some(365.0),
            builds: Some(1000),
            bytes: Some(1 << 30),
        }],
    }
}
