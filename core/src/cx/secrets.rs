use crate::{
    Error, ErrorKind, Owner, Result,
    port::Secrets,
    redact::Redactor,
    secret::{Secret, SecretRef, Value},
};
use std::sync::Arc;

/// The secrets a step may ask for. What is revealed here is redacted from the build's log and
/// from its errors from then on.
#[derive(Clone, Debug)]
pub struct StepSecrets {
    owner: Owner,
    secrets: Arc<dyn Secrets>,
    redactor: Redactor,
}

impl StepSecrets {
    /// Secrets of an owner, redacted by a redactor.
    pub fn new(owner: Owner, secrets: Arc<dyn Secrets>, redactor: Redactor) -> Self {
        Self { owner, secrets, redactor }
    }

    /// The value of a secret; `NotFound` if the owner has none of that name.
    pub async fn reveal(&self, secret: &SecretRef) -> Result<Secret> {
        let value = self.secrets.reveal(&self.owner, secret).await?;
        self.redactor.add(&value);
        Ok(value)
    }

    /// The bytes of a value that may be a secret.
    pub async fn resolve(&self, value: &Value) -> Result<Secret> {
        match value {
            Value::Text(text) => Ok(Secret::new(text.as_bytes())),
            Value::Secret(secret) => self.reveal(secret).await,
            Value::Fact(_) => {
                let message = "a fact about the build is known to the engine alone";
                Err(Error::new(ErrorKind::Unexpected, "StepSecrets::resolve", message))
            }
        }
    }

    /// Redacts a value that came from elsewhere, such as the host's own registry logins.
    pub fn conceal(&self, value: &Secret) {
        self.redactor.add(value);
    }
}
