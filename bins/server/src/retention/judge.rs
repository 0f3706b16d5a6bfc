//! Whether a build is kept, from what was seen of later ones.

use crate::config::{Retention, Rule};
use kiln::{Timestamp, port::BuildSummary};
use std::{collections::BTreeMap, time::Duration};

/// Whether a build is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    No(&'static str),
}

/// What a rule counts together: the builds of an owner, with a value of its label.
type Group = (usize, String, String);

/// Judges builds, which come latest first.
#[derive(Debug)]
pub(super) struct Judge {
    now: Timestamp,
    rules: Vec<Rule>,
    /// How many builds of each group were kept, and their bytes.
    kept: BTreeMap<Group, (u64, u64)>,
}

impl Judge {
    pub(super) fn new(retention: &Retention, now: Timestamp) -> Self {
        let Retention { days, builds, bytes, rule, .. } = retention.clone();
        let all = Rule { days, builds, bytes, ..Rule::default() };
        Self { now, rules: [all].into_iter().chain(rule).collect(), kept: BTreeMap::new() }
    }

    /// Whether sizes matter, which cost something to find.
    pub(super) fn counts_bytes(&self) -> bool {
        self.rules.iter().any(|rule| rule.bytes.is_some())
    }

    pub(super) fn of(&mut self, build: &BuildSummary, bytes: u64) -> Kept {
        let groups: Vec<_> = (0..self.rules.len()).filter_map(|at| self.group(at, build)).collect();
        for group in &groups {
            let rule = &self.rules[group.0];
            let (builds, sum) = self.kept.get(group).copied().unwrap_or_default();
            if rule.days.is_some_and(|days| self.age(build) > days_long(days)) {
                return Kept::No("age");
            }
            if rule.builds.is_some_and(|max| builds >= max) {
                return Kept::No("count");
            }
            if rule.bytes.is_some_and(|max| sum + bytes > max) {
                return Kept::No("bytes");
            }
        }
        for group in groups {
            let (builds, sum) = self.kept.entry(group).or_default();
            *builds += 1;
            *sum += bytes;
        }
        Kept::Yes
    }

    /// The group of a rule that a build belongs to, if the rule means it.
    fn group(&self, at: usize, build: &BuildSummary) -> Option<Group> {
        let rule = &self.rules[at];
        if at == 0 {
            return Some((0, String::new(), String::new()));
        }
        if rule.owner.as_ref().is_some_and(|owner| *owner != build.owner) {
            return None;
        }
        let value = match rule.label.as_deref() {
            None => String::new(),
            Some(label) => {
                let (key, wanted) =
                    label.split_once('=').map_or((label, None), |(k, v)| (k, Some(v)));
                let value = build.labels.get(key)?;
                if wanted.is_some_and(|wanted| wanted != value) {
                    return None;
                }
                value.clone()
            }
        };
        Some((at, build.owner.to_string(), value))
    }

    fn age(&self, build: &BuildSummary) -> Duration {
        self.now.since(build.finished_at.unwrap_or(build.accepted_at))
    }
}

fn days_long(days: f64) -> Duration {
    // A number of days beyond all time is for ever.
    Duration::try_from_secs_f64(days * 86_400.0).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::{BuildId, Owner, Phase, Seq};

    const DAY: u64 = 86_400_000;

    fn build(name: &str, owner: &str, branch: &str, ended_day: u64) -> BuildSummary {
        BuildSummary {
            build: BuildId::new(name).unwrap(),
            seq: Seq(1),
            owner: Owner::new(owner).unwrap(),
            labels: [("branch".to_owned(), branch.to_owned())].into(),
            phase: Phase::Finished,
            outcome: None,
            accepted_at: Timestamp(0),
            finished_at: Some(Timestamp(ended_day * DAY)),
            steps: 1,
            steps_over: 1,
        }
    }

    /// The latest first: two owners, two branches, one build a day.
    fn builds() -> Vec<BuildSummary> {
        (0..12)
            .map(|n| {
                let owner = if n % 2 == 0 { "ann" } else { "bob" };
                let branch = if n % 3 == 0 { "main" } else { "dev" };
                build(&format!("b{n}"), owner, branch, 20 - n)
            })
            .collect()
    }

    fn kept(retention: &Retention) -> String {
        let mut judge = Judge::new(retention, Timestamp(20 * DAY));
        let mut kept = |b: &&BuildSummary| judge.of(b, 10) == Kept::Yes;
        let all = builds();
        let names: Vec<_> = all.iter().filter(|b| kept(b)).map(|b| b.build.to_string()).collect();
        names.join(" ")
    }

    fn rule(owner: Option<&str>, label: Option<&str>, builds: u64) -> Rule {
        Rule {
            owner: owner.map(|o| Owner::new(o).unwrap()),
            label: label.map(str::to_owned),
            builds: Some(builds),
            ..Rule::default()
        }
    }

    #[test]
    fn nothing_is_forgotten_without_limits() {
        assert_eq!(kept(&Retention::default()).split(' ').count(), 12);
    }

    #[test]
    fn age_count_and_bytes_limit_all_builds() {
        let none = Retention::default();
        assert_eq!(kept(&Retention { days: Some(2.5), ..none.clone() }), "b0 b1 b2");
        assert_eq!(
            kept(&Retention { days: Some(f64::MAX), builds: Some(2), ..none.clone() }),
            "b0 b1"
        );
        assert_eq!(kept(&Retention { bytes: Some(39), ..none.clone() }), "b0 b1 b2");
        assert_eq!(kept(&Retention { builds: Some(0), ..none }), "");
    }

    #[test]
    fn rules_count_each_owner_and_each_value_of_a_label_by_itself() {
        let with = |rule| Retention { rule: vec![rule], ..Retention::default() };
        assert_eq!(kept(&with(rule(None, None, 1))), "b0 b1");
        assert_eq!(kept(&with(rule(Some("ann"), None, 1))), "b0 b1 b3 b5 b7 b9 b11");
        assert_eq!(kept(&with(rule(None, Some("branch"), 1))), "b0 b1 b2 b3");
        assert_eq!(kept(&with(rule(None, Some("branch=main"), 0))), "b1 b2 b4 b5 b7 b8 b10 b11");
        assert_eq!(kept(&with(rule(None, Some("none"), 0))).split(' ').count(), 12);
    }
}
