//! Contexts that clients upload: how they are named, and who may use them.
//!
//! An upload is an artifact of a build that never is: `upload-<owner>-<time>-<random>`, where the
//! owner is the first 12 hexadecimal digits of the SHA-256 of its name and the time is in
//! milliseconds since 1970, hexadecimal too, so that what became old can be told by its name.

use kiln::{BuildId, Error, ErrorKind, Op, Owner, Plan, Result, Timestamp, port::ArtifactStore};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The name of the artifact that an upload is.
pub(crate) const CONTEXT: &str = "context.tar";
/// What a source that is an upload begins with.
const SCHEME: &str = "upload:";
/// How many digits of the owner's hash, and how many random ones, are in a name.
const DIGITS: (usize, usize) = (12, 16);

fn prefix(owner: &Owner) -> String {
    let mut prefix = "upload-".to_owned();
    for byte in &Sha256::digest(owner.as_str())[..DIGITS.0 / 2] {
        let _ = write!(prefix, "{byte:02x}");
    }
    prefix.push('-');
    prefix
}

/// A name for an upload of an owner that nobody can guess.
pub(crate) fn name(owner: &Owner, now: Timestamp) -> Result<BuildId> {
    let random = BuildId::random();
    let random = &random.as_str()[..DIGITS.1];
    BuildId::new(format!("{}{:x}-{random}", prefix(owner), now.0))
        .map_err(|e| Error::new(ErrorKind::Unexpected, "upload", e.to_string()))
}

/// The source that an upload is.
pub(crate) fn source(upload: &BuildId) -> String {
    format!("{SCHEME}{upload}")
}

/// `Invalid` if a plan names an upload that is not there, or that is another owner's, which is
/// told no differently.
pub(crate) async fn check_plan(
    owner: &Owner,
    plan: &Plan,
    artifacts: &dyn ArtifactStore,
) -> Result<()> {
    let mut uploads = Vec::new();
    for step in plan.steps() {
        match &step.op {
            Op::Fetch { source, .. } => uploads.extend(named(&source.url)),
            // A planner fetches what its settings name, whatever the place.
            Op::Plan { settings, .. } => named_in(settings, &mut uploads),
            _ => {}
        }
    }
    for upload in uploads {
        check(owner, upload, artifacts).await?;
    }
    Ok(())
}

/// The uploads that any text of these settings is.
fn named_in<'a>(settings: &'a serde_json::Value, all: &mut Vec<&'a str>) {
    match settings {
        serde_json::Value::String(text) => all.extend(named(text)),
        serde_json::Value::Array(values) => values.iter().for_each(|value| named_in(value, all)),
        serde_json::Value::Object(map) => map.values().for_each(|value| named_in(value, all)),
        _ => {}
    }
}

/// `Invalid` unless the owner uploaded this.
pub(crate) async fn check(
    owner: &Owner,
    upload: &str,
    artifacts: &dyn ArtifactStore,
) -> Result<()> {
    let missing = || {
        let shown: String = upload.chars().take(64).collect();
        Error::new(ErrorKind::Invalid, "upload", "there is no such upload")
            .with("upload", shown)
            .hint("Upload the context with POST /api/v1/contexts first.")
    };
    let id = BuildId::new(upload).map_err(|_| missing())?;
    if !upload.starts_with(&prefix(owner)) || artifacts.list(&id).await?.is_empty() {
        return Err(missing());
    }
    Ok(())
}

/// The upload that a source names, if it is one.
pub(crate) fn named(url: &str) -> Option<&str> {
    url.strip_prefix(SCHEME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_and_when_and_is_a_build_id() {
        let owner = Owner::new("ann").unwrap();
        let id = name(&owner, Timestamp(0x19a_0000_0000)).unwrap();
        // The beginning of `printf ann | sha256sum`.
        assert!(id.as_str().starts_with("upload-49915e0d7d4b-19a00000000-"), "{id}");
        assert_eq!(id.as_str().len(), 7 + 12 + 1 + 11 + 1 + 16);
        assert_ne!(id, name(&owner, Timestamp(0x19a_0000_0000)).unwrap());
        assert!(name(&owner, Timestamp(u64::MAX)).is_ok());
    }
}
