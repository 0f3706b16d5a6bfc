//! What a box handle says: which container, and what its commands are given.

use bollard::models::ContainerInspectResponse;
use kiln::{BoxSpec, Error, ErrorKind, Result, StepCx, port::BoxHandle, secret::Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::labels::USER;

/// A started box. The variables are given to each command and not to the container, where a commit
/// would keep them and everybody could read the secrets among them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Handle {
    pub(super) container: String,
    /// The user that commands run as by default; empty for the container's own.
    pub(super) user: String,
    pub(super) env: BTreeMap<String, Value>,
}

impl Handle {
    /// The handle of a container, whose commands also get the variables that links give.
    pub(super) fn of(
        found: &ContainerInspectResponse,
        spec: &BoxSpec,
        links: BTreeMap<String, Value>,
    ) -> Result<BoxHandle> {
        let labels = found.config.as_ref().and_then(|c| c.labels.as_ref());
        let handle = Self {
            container: found.id.clone().unwrap_or_default(),
            user: match &spec.user {
                Some(user) => user.clone(),
                None => labels.and_then(|l| l.get(USER)).cloned().unwrap_or_default(),
            },
            env: links.into_iter().chain(spec.env.clone()).collect(),
        };
        let text = serde_json::to_string(&handle).map_err(|e| {
            Error::new(ErrorKind::Unexpected, "Runtime::start", "a box cannot be named").source(e)
        })?;
        Ok(BoxHandle(text))
    }

    pub(super) fn read(handle: &BoxHandle) -> Result<Self> {
        serde_json::from_str(&handle.0).map_err(|e| {
            Error::new(ErrorKind::Invalid, "Runtime::exec", "that is no box of this runtime")
                .source(e)
        })
    }
}

/// The variables of a command, as the engine takes them; later ones win.
pub(super) async fn variables(
    cx: &StepCx,
    all: impl IntoIterator<Item = (&String, &Value)>,
    op: &'static str,
) -> Result<Vec<String>> {
    let all: BTreeMap<_, _> = all.into_iter().collect();
    let mut pairs = Vec::with_capacity(all.len());
    for (name, value) in all {
        check_name(name, op)?;
        let value = cx.secrets.resolve(value).await?;
        match value.expose_str() {
            Some(text) if !text.contains('\0') => pairs.push(format!("{name}={text}")),
            _ => {
                return Err(Error::new(ErrorKind::Invalid, op, "a variable is not text")
                    .with("name", name)
                    .hint("Encode it, for example as base64."));
            }
        }
    }
    Ok(pairs)
}

/// Names that a shell hands down: others would be lost without a word.
pub(super) fn check_name(name: &str, op: &'static str) -> Result<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(legal)
    {
        return Err(Error::new(ErrorKind::Invalid, op, "that is not the name of a variable")
            .with("name", name)
            .hint("Use letters, digits and `_`, and no digit first: shells drop any other."));
    }
    Ok(())
}
