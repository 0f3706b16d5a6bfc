//! What an operator says of a notifier.

use kiln::{Event, Owner, SecretRef};
use serde::{Deserialize, Serialize};

/// A kind of event, as journals name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the event of its name")]
pub enum On {
    Accepted,
    Adopted,
    StepReused,
    StepStarted,
    StepPinned,
    StepTimedOut,
    StepSucceeded,
    StepFailed,
    StepDue,
    StepSkipped,
    CancelRequested,
    Finished,
}

impl On {
    /// The kind of an event; none for one that is newer than this.
    pub fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::Accepted { .. } => Self::Accepted,
            Event::Adopted { .. } => Self::Adopted,
            Event::StepReused { .. } => Self::StepReused,
            Event::StepStarted { .. } => Self::StepStarted,
            Event::StepPinned { .. } => Self::StepPinned,
            Event::StepTimedOut { .. } => Self::StepTimedOut,
            Event::StepSucceeded { .. } => Self::StepSucceeded,
            Event::StepFailed { .. } => Self::StepFailed,
            Event::StepDue { .. } => Self::StepDue,
            Event::StepSkipped { .. } => Self::StepSkipped,
            Event::CancelRequested { .. } => Self::CancelRequested,
            Event::Finished { .. } => Self::Finished,
            _ => return None,
        })
    }
}

/// What most want to know.
fn turns() -> Vec<On> {
    vec![On::Accepted, On::Adopted, On::Finished]
}

fn context() -> String {
    "kiln".into()
}

/// A receiver of signed requests: `[notify.NAME]` with `kind = "webhook"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where to, with `https:`. It is no place for a secret: hosts are logged.
    pub url: String,
    /// The secret to sign with: `whsec_` and base64, or any other bytes.
    pub secret: SecretRef,
    /// Of whose builds it tells, and among whose secrets its own is; without it of everybody's,
    /// with a secret of the local owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Of which events.
    #[serde(default = "turns")]
    pub events: Vec<On>,
    /// Whether the receiver may be on a private network or on this machine.
    #[serde(default)]
    pub allow_private_network: bool,
    /// Whether the URL may be one with `http:`.
    #[serde(default)]
    pub allow_http: bool,
}

/// Whose commits get a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Forge {
    #[serde(rename = "github")]
    GitHub,
    #[serde(rename = "gitlab")]
    GitLab,
    /// Gitea, and Forgejo too.
    Gitea,
}

/// The states of commits on a forge: `[notify.NAME]` with `kind = "status"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusConfig {
    /// Which forge.
    pub forge: Forge,
    /// Where its API is, such as `https://api.github.com`, `https://gitlab.com/api/v4` or
    /// `https://gitea.example/api/v1`.
    pub api: String,
    /// The token to call it with.
    pub token: SecretRef,
    /// Of whose builds it tells, and among whose secrets the token is. What a build is of is told
    /// by its labels, so this is what keeps one owner from speaking for the commits of another.
    pub owner: Owner,
    /// The repositories whose commits get a state: `acme/app`, `acme/*` for all of a group,
    /// `acme/**` also for those of groups in it.
    pub repos: Vec<String>,
    /// The hook whose builds count; without it, builds of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// What the state is called among others of the commit.
    #[serde(default = "context")]
    pub context: String,
    /// Where more is to be seen, with `{build}` for the build and `{seq}` for the place in its
    /// journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Of which events.
    #[serde(default = "turns")]
    pub events: Vec<On>,
    /// Whether the forge may be on a private network or on this machine.
    #[serde(default)]
    pub allow_private_network: bool,
    /// Whether the URL may be one with `http:`, which sends the token in the open.
    #[serde(default)]
    pub allow_http: bool,
}
