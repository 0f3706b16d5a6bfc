use crate::{BuildId, Outcome, Owner, Result, Seq, Timestamp, state::Phase};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Debug};

/// What a list shows of a build. Derived from its journal, so it may lag and can be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSummary {
    /// The build.
    pub build: BuildId,
    /// The place of the journal this tells of.
    pub seq: Seq,
    /// Whose it is.
    pub owner: Owner,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub phase: Phase,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// How many steps it has.
    pub steps: u32,
    /// How many of them are over.
    pub steps_over: u32,
}

/// Which builds a list shows: those that satisfy everything that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildFilter {
    /// The beginning of their id.
    pub id_prefix: Option<String>,
    /// Their owner.
    pub owner: Option<Owner>,
    /// Their phase.
    pub phase: Option<Phase>,
    /// The word of their outcome, as [`Outcome::word`] has it.
    pub outcome: Option<String>,
    /// Labels they all have, with just these values.
    pub labels: BTreeMap<String, String>,
}

/// Where a page of a list begins, as the page before it said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageToken {
    /// When the last build of the page before was accepted.
    pub accepted_at: Timestamp,
    /// Its id.
    pub build: BuildId,
}

impl PageToken {
    /// The token with which the list goes on after a build.
    pub fn after(last: &BuildSummary) -> Self {
        Self { accepted_at: last.accepted_at, build: last.build.clone() }
    }
}

/// Which part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// How many builds at most.
    pub max: usize,
    /// After which one.
    pub after: Option<PageToken>,
}

/// Lists builds. Apart from the store, so that queries never shape the journal.
#[async_trait]
pub trait Index: Debug + Send + Sync + 'static {
    /// Notes the present state of a build.
    ///
    /// # Promises
    ///
    /// - A summary with a lower `seq` than the noted one changes nothing.
    async fn put(&self, summary: &BuildSummary) -> Result<()>;

    /// The builds that pass the filter, latest accepted first, equal times by id, descending.
    ///
    /// # Promises
    ///
    /// - Paging by [`PageToken::after`] shows every build once that was there from the first page
    ///   to the last, whatever is added meanwhile.
    async fn list(&self, filter: &BuildFilter, page: &Page) -> Result<Vec<BuildSummary>>;

    /// Forgets a build; one nobody knows too.
    async fn forget(&self, build: &BuildId) -> Result<()>;
}
