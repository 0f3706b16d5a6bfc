//! Who may do what.

use async_trait::async_trait;
use kiln::{Actor, Error, ErrorKind, Owner, Result};
use std::{collections::BTreeSet, fmt::Debug};

/// What a token allows.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything, of every owner.
    Admin,
    /// To submit, cancel and repeat builds of its owner.
    Submit,
    /// To see builds and logs of its owner.
    Read,
    /// What agents do: to lease builds and write their journals and logs.
    Agent,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose builds it makes, and sees.
    pub owner: Owner,
    /// The name of its token, for those who read later who did what; none without a token.
    pub name: Option<String>,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
}

impl Caller {
    /// Whether the caller may see builds of every owner.
    pub fn is_admin(&self) -> bool {
        self.scopes.contains(&Scope::Admin)
    }

    /// The caller, for a journal.
    pub(crate) fn actor(&self) -> Actor {
        Actor { owner: self.owner.clone(), name: self.name.clone() }
    }

    /// Notes what the caller did where no journal does.
    pub(crate) fn did(&self, what: &'static str, to: &str) {
        let name = self.name.as_deref().unwrap_or("");
        tracing::info!(target: "kiln::audit", owner = %self.owner, name, what, to);
    }

    /// `Denied` unless the caller may do this.
    pub fn expect(&self, scope: Scope) -> Result<()> {
        // Whoever may submit may see what came of it.
        let more = match scope {
            Scope::Read => self.scopes.contains(&Scope::Submit),
            _ => false,
        };
        if more || self.is_admin() || self.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Denied, "Access", "the token does not allow that")
            .with("needs", format_args!("{scope:?}").to_string().to_lowercase()))
    }
}

/// Tells who calls by the token of the request.
#[async_trait]
pub trait Access: Debug + Send + Sync + 'static {
    /// Who has this token. `Denied` if nobody has, or if there is none and one is needed.
    ///
    /// # Promises
    ///
    /// - How long it takes tells nothing of the tokens there are.
    async fn caller(&self, token: Option<&str>) -> Result<Caller>;
}

/// Lets everybody do everything as the local owner: for a listener that only this machine, or
/// only its owner, can reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everybody;

#[async_trait]
impl Access for Everybody {
    async fn caller(&self, _: Option<&str>) -> Result<Caller> {
        let (owner, scopes) = (Owner::local(), BTreeSet::from([Scope::Admin]));
        Ok(Caller { owner, name: None, scopes })
    }
}
