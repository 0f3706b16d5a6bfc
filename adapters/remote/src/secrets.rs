use crate::{
    client::RemoteClient,
    wire::{RevealAsk, Shown},
};
use async_trait::async_trait;
use kiln::{Owner, Result, Secret, SecretRef, port::Secrets};
use reqwest::Method;

/// The secrets of a server, for builds that are leased to this process. Nothing is kept here.
#[derive(Clone, Debug)]
pub struct RemoteSecrets(RemoteClient);

impl RemoteSecrets {
    /// The secrets behind a client.
    pub fn new(client: RemoteClient) -> Self {
        Self(client)
    }
}

#[async_trait]
impl Secrets for RemoteSecrets {
    async fn reveal(&self, owner: &Owner, secret: &SecretRef) -> Result<Secret> {
        let shown = self.0.shown_of(owner).into_iter();
        let leases = shown.map(|(build, lease)| Shown { build, lease }).collect();
        let ask = self.0.ask("Secrets::reveal", Method::POST, &["secret"]);
        let (_, body) = ask.json(&RevealAsk { owner, secret, leases }).whole().await?;
        Ok(Secret::new(body.to_vec()))
    }
}
