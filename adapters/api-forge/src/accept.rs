//! From a change to a build that waits for its turn.

use crate::{
    hook::{Change, Hook},
    plan::{group, labels},
};
use kiln::{
    Actor, BuildId, Engine, Error, ErrorKind, Phase, Plan, Result, Submission,
    port::{Job, Queue},
};
use sha2::{Digest, Sha256};

/// The id of the build that a request means: the same for the same request, and for no other.
///
/// Of GitHub and Gitea only the body is signed, so the id that a delivery has in a header counts
/// for nothing: whoever caught a request could send it again under another. Of GitLab the id counts
/// too, since two pushes there can have the same body; it is signed, or whoever can send it has the
/// token and can send anything.
pub(crate) fn build_id(hook: &Hook, delivery: Option<&str>, body: &[u8]) -> Result<BuildId> {
    let mut hash = Sha256::new_with_prefix("kiln-hook-1");
    for part in [hook.name.as_bytes(), delivery.unwrap_or("").as_bytes(), body] {
        // With their lengths, so that no two requests run into the same bytes.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let hex: String = hash.finalize()[..16].iter().map(|b| format!("{b:02x}")).collect();
    BuildId::new(hex).map_err(|e| Error::new(ErrorKind::Unexpected, "hooks", e.to_string()))
}

/// Accepts a build and gives it a turn; says whether it is new.
///
/// A crash in between is mended by the forge, which sends again what was not answered, and by
/// whoever starts next: it queues all builds that are not finished.
pub(crate) async fn accept(
    engine: &Engine,
    queue: &dyn Queue,
    hook: &Hook,
    change: &Change,
    plan: Plan,
    id: &BuildId,
) -> Result<bool> {
    let owner = hook.config.owner.clone();
    let placement = plan.placement();
    let by = Actor { owner: owner.clone(), name: Some(hook.name.clone()) };
    let submission = Submission::new(plan).id(id.clone()).owner(owner.clone()).by(by);
    let made = match engine.accept(submission.labels(labels(hook, change))).await {
        Ok(_) => true,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => false,
        Err(e) => return Err(e),
    };
    if made || engine.state(id).await?.phase() != Phase::Finished {
        let limits = [(group(hook, change), 1)].into();
        let priority = hook.config.priority;
        let job = Job { priority, placement, limits, ..Job::new(id.clone(), owner) };
        queue.push(job).await?;
    }
    Ok(made)
}
