use crate::{
    BuildId, NotifierName, Owner, Placement, Seq,
    port::{Job, Queue},
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// How many errands of one notifier are carried out side by side, by all couriers together.
///
/// All errands of a build go through one lane of a notifier, one at a time and the oldest first:
/// that keeps their order.
pub const LANES: u16 = 32;

/// The label of nodes that carry errands: no worker has it, so none takes an errand for a build.
pub const COURIER_LABEL: &str = "kiln.courier";

/// Whose the errands are. Whoever leases builds counts the leases of owners that have builds.
const OWNER: &str = "kiln-courier";
/// A group of the job names the notifier and the lane, `notify/NAME/LANE`, and where the id of the
/// build does not fit into that of the job, another one names it, `notify-of/BUILD`.
const GROUP: &str = "notify/";
const LONG: &str = "notify-of/";

/// To tell one notifier of the events after a place, so many at most: those of one append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Errand {
    pub(super) notifier: NotifierName,
    pub(super) build: BuildId,
    pub(super) after: Seq,
    pub(super) count: usize,
}

/// The labels of a node that carries errands.
pub(super) fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([(COURIER_LABEL.to_owned(), "1".to_owned())])
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Errand {
    /// Whether the errand is to tell of this place.
    pub(super) fn covers(&self, seq: Seq) -> bool {
        seq > self.after && seq <= self.after.plus(self.count)
    }

    /// The job in the [`Queue`] that stands for it; the same for the same errand. This form is
    /// stored, and read by other servers: see `docs/formats.md`.
    pub(super) fn job(&self) -> Option<Job> {
        let lane = hash(self.build.as_str())[0] % LANES as u8;
        let mut limits = BTreeMap::from([(format!("{GROUP}{}/{lane}", self.notifier), 1)]);
        let place = format!(
            "{:x}.{:x}.{}",
            self.after.0,
            self.count,
            hex(&hash(self.notifier.as_str())[..4])
        );
        let id = match BuildId::new(format!("{}.{place}", self.build)) {
            Ok(id) => id,
            Err(_) => {
                limits.insert(format!("{LONG}{}", self.build), 1);
                BuildId::new(format!("{}.{place}", hex(&hash(self.build.as_str())[..12]))).ok()?
            }
        };
        let placement = Placement { labels: labels(), ..Placement::default() };
        Some(Job { placement, limits, ..Job::new(id, Owner::new(OWNER).ok()?) })
    }

    /// Reads a job.
    pub(super) fn of(job: &Job) -> Option<Self> {
        let (notifier, _) =
            job.limits.keys().find_map(|g| g.strip_prefix(GROUP)?.split_once('/'))?;
        let mut parts = job.build.as_str().rsplitn(4, '.').skip(1);
        let count = usize::from_str_radix(parts.next()?, 16).ok()?;
        let after = u64::from_str_radix(parts.next()?, 16).ok()?;
        let short = parts.next()?;
        let long = job.limits.keys().find_map(|g| g.strip_prefix(LONG));
        Some(Self {
            notifier: NotifierName::new(notifier).ok()?,
            build: BuildId::new(long.unwrap_or(short)).ok()?,
            after: Seq(after),
            count,
        })
    }

    /// Puts the errand into a queue, where it may be already.
    pub(super) async fn send(&self, queue: &dyn Queue) -> crate::Result<()> {
        let Some(job) = self.job() else {
            // Both ids are far shorter than what is allowed.
            let message = "an errand has no legal name";
            let error = crate::Error::new(crate::ErrorKind::Unexpected, "Outbox::append", message);
            return Err(error.with("build", &self.build));
        };
        queue.push(job).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errand(build: &str) -> Errand {
        Errand {
            notifier: NotifierName::new("ci.mail").unwrap(),
            build: BuildId::new(build).unwrap(),
            after: Seq(27),
            count: 3,
        }
    }

    #[test]
    fn an_errand_is_read_as_it_was_written() {
        for build in ["b", "a.b.c", "3f0c3f0c3f0c3f0c3f0c3f0c3f0c3f0c", &"x.y-".repeat(16)] {
            let errand = errand(build);
            let job = errand.job().unwrap();
            assert_eq!(Errand::of(&job), Some(errand), "{job:?}");
        }
    }

    #[test]
    fn the_stored_form_is_what_the_formats_page_says() {
        let job = errand("3f0c").job().unwrap();
        assert_eq!(job.build.as_str(), "3f0c.1b.3.e5bf1fad");
        assert_eq!(job.limits.keys().collect::<Vec<_>>(), ["notify/ci.mail/25"]);
        assert_eq!(job.placement.labels, labels());
    }

    #[test]
    fn errands_that_differ_are_different_jobs() {
        let errand = errand("3f0c");
        let other = [
            Errand { notifier: NotifierName::new("ci").unwrap(), ..errand.clone() },
            Errand { after: Seq(28), ..errand.clone() },
            Errand { count: 4, ..errand.clone() },
        ];
        for other in other {
            assert_ne!(other.job().unwrap().build, errand.job().unwrap().build, "{other:?}");
        }
    }

    #[test]
    fn other_jobs_are_no_errands() {
        assert_eq!(Errand::of(&Job::new(BuildId::random(), Owner::local())), None);
    }
}
