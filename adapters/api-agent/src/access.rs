//! Who may do what.

use async_trait::async_trait;
use kiln::Result;
use std::fmt::Debug;

/// What a token allows here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Nothing: it is for something else.
    Other,
    /// To be an agent: to lease builds, and to touch what belongs to a build while it is leased.
    Agent,
    /// Everything, also without a lease.
    Admin,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the token. A node belongs to the token that enrolled it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
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

/// Takes everybody for one caller, whatever token there is: for a listener that only this machine,
/// or only its owner, can reach.
#[derive(Clone, Copy, Debug)]
pub struct Everybody(pub Scope);

#[async_trait]
impl Access for Everybody {
    async fn caller(&self, _: Option<&str>) -> Result<Caller> {
        Ok(Caller { name: "everybody".into(), scope: self.0 })
    }
}
