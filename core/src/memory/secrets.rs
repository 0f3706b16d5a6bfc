use super::lock;
use crate::{
    Error, ErrorKind, Owner, Result,
    port::Secrets,
    secret::{Secret, SecretRef},
};
use async_trait::async_trait;
use std::{collections::HashMap, fmt, sync::Mutex};

/// Secrets in memory, by owner. The default knows none.
#[derive(Default)]
pub struct MemorySecrets(Mutex<HashMap<(Owner, SecretRef), Secret>>);

impl MemorySecrets {
    /// Sets a secret of an owner, in place of an older value.
    pub fn set(&self, owner: Owner, name: SecretRef, value: Secret) {
        lock(&self.0).insert((owner, name), value);
    }
}

impl fmt::Debug for MemorySecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(lock(&self.0).keys()).finish()
    }
}

#[async_trait]
impl Secrets for MemorySecrets {
    async fn reveal(&self, owner: &Owner, secret: &SecretRef) -> Result<Secret> {
        let secrets = lock(&self.0);
        secrets.get(&(owner.clone(), secret.clone())).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "Secrets::reveal", "there is no such secret")
                .with("secret", secret)
                .with("owner", owner)
        })
    }
}
