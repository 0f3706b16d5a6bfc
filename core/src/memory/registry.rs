use super::{MemoryHost, lock, sha256};
use crate::{
    BuildId, Digest, Error, ErrorKind, ImageRef, Result, Secret, StepCx,
    port::{PushSpec, Registry},
};
use async_trait::async_trait;
use std::{collections::BTreeMap, sync::Mutex};

/// Registries in memory: all of them, whatever their names.
#[derive(Debug, Default)]
pub struct MemoryRegistry {
    host: MemoryHost,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By canonical name.
    pushed: BTreeMap<String, Digest>,
    swept: Vec<BuildId>,
    password: Option<Secret>,
}

impl MemoryRegistry {
    /// Registries that take the images of a host.
    pub fn new(host: &MemoryHost) -> Self {
        Self { host: host.clone(), state: Mutex::default() }
    }

    /// Refuses pushes from now on whose credentials are not just this secret.
    pub fn protect(&self, password: Secret) {
        lock(&self.state).password = Some(password);
    }

    /// The builds that were swept, in order.
    pub fn swept(&self) -> Vec<BuildId> {
        lock(&self.state).swept.clone()
    }

    /// What was pushed, by canonical name.
    pub fn pushed(&self) -> Vec<(String, Digest)> {
        lock(&self.state).pushed.clone().into_iter().collect()
    }
}

#[async_trait]
impl Registry for MemoryRegistry {
    async fn push(&self, cx: &StepCx, spec: &PushSpec) -> Result<Digest> {
        const OP: &str = "Registry::push";
        if cx.cancel.is_cancelled() {
            return Err(cx.cancelled(OP));
        }
        if spec.to.digest().is_some() {
            return Err(Error::new(
                ErrorKind::Invalid,
                OP,
                "a push goes to a tag, not to a digest",
            )
            .with("to", &spec.to)
            .hint("Leave out `@` and the digest."));
        }
        let id = self.host.lock().image(&spec.image, OP)?.id.clone();
        let given = match &spec.credentials {
            Some(secret) => Some(cx.secrets.reveal(secret).await?),
            None => None,
        };
        let mut state = lock(&self.state);
        if state.password.is_some() && state.password != given {
            return Err(Error::new(ErrorKind::Denied, OP, "the registry refused the credentials")
                .with("image", &spec.to)
                .hint("Check the credentials of the push step."));
        }
        let digest = sha256(format!("manifest of {id}").as_bytes());
        state.pushed.insert(spec.to.canonical(), digest.clone());
        Ok(digest)
    }

    async fn digest(&self, _: &StepCx, of: &ImageRef) -> Result<Option<Digest>> {
        let state = lock(&self.state);
        let Some(digest) = of.digest() else {
            return Ok(state.pushed.get(&of.canonical()).cloned());
        };
        let same = |name: &str| {
            ImageRef::parse(name)
                .is_ok_and(|n| (n.registry(), n.repository()) == (of.registry(), of.repository()))
        };
        let mut pushed = state.pushed.iter();
        Ok(pushed.find(|(name, d)| *d == digest && same(name)).map(|(_, d)| d.clone()))
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        lock(&self.state).swept.push(build.clone());
        Ok(())
    }
}
