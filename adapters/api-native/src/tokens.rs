//! The tokens of a server, as far as the API changes them.

use crate::access::Scope;
use async_trait::async_trait;
use kiln::{Owner, Result, Secret};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt::Debug};

/// A token, without the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenInfo {
    /// What it is called: 1 to 64 characters.
    pub name: String,
    /// Whose builds it makes and sees.
    #[schema(value_type = String, example = "ann")]
    pub owner: Owner,
    /// What it allows.
    pub scopes: BTreeSet<Scope>,
}

/// Keeps tokens.
#[async_trait]
pub trait TokenBook: Debug + Send + Sync + 'static {
    /// All tokens, by name.
    async fn list(&self) -> Result<Vec<TokenInfo>>;

    /// Makes a token and returns it, once and never again.
    ///
    /// # Promises
    ///
    /// - `AlreadyExists` if there is one of that name.
    /// - It is good as soon as this returns.
    async fn create(&self, token: &TokenInfo) -> Result<Secret>;

    /// Removes a token.
    ///
    /// # Promises
    ///
    /// - `NotFound` if there is none of that name.
    /// - It is refused as soon as this returns.
    async fn remove(&self, name: &str) -> Result<()>;
}
