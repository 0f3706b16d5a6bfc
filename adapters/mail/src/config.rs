//! What an operator says of a mail server, and of who is to read.

use kiln::{Owner, SecretRef};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// How the way to the mail server is kept from being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// The connection is encrypted after the greeting, or there is none.
    #[default]
    StartTls,
    /// It is encrypted from the first byte.
    Tls,
    /// It is not encrypted: only to a server on this machine.
    None,
}

/// After which builds there is a mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// All.
    #[default]
    Always,
    /// Those that did not succeed.
    Failure,
    /// Those of a branch that succeeded after one that did not, or the other way round. A build
    /// that no hook started is of no branch, and counts as a change.
    Change,
}

/// Mail: `[notify.NAME]` with `kind = "mail"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// The mail server.
    pub host: String,
    /// Its port; 587, 465 with `tls` and 25 with `none` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the way to it is kept.
    #[serde(default)]
    pub security: Security,
    /// A file with the certificate, in PEM, that signs for the server, beside those that this
    /// machine trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Who we are to the server; nobody without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The secret of the local owner with the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// From whom the mail is: `kiln@acme.example` or `Kiln <kiln@acme.example>`.
    pub from: String,
    /// Who reads of everybody's builds.
    #[serde(default)]
    pub to: Vec<String>,
    /// Who reads of the builds of one owner.
    #[serde(default)]
    pub owners: BTreeMap<Owner, Vec<String>>,
    /// After which builds.
    #[serde(default)]
    pub when: When,
    /// Where more is to be seen, with `{build}` for the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How many seconds the server may take for one mail.
    #[serde(default = "seconds")]
    pub timeout_seconds: u64,
    /// Whether every event is told, and not the ends alone: to see whether mail comes at all.
    #[serde(default)]
    pub every_event: bool,
}

fn seconds() -> u64 {
    30
}
