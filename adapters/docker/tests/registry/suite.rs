//! The conformance suite, without and with credentials.

use crate::parts::{TestImage, registry_of, service};
use async_trait::async_trait;
use kiln::{
    BuildId, Digest, ImageRef, Result, StepCx,
    port::{PushSpec, Registry},
};
use kiln_conformance::{Fresh, images::Images};
use kiln_docker::DockerRegistry;
use std::sync::Arc;

#[derive(Debug)]
struct Real {
    registry: DockerRegistry,
    image: TestImage,
    prefix: String,
}

#[async_trait]
impl Registry for Real {
    async fn push(&self, cx: &StepCx, spec: &PushSpec) -> Result<Digest> {
        self.registry.push(cx, spec).await
    }

    async fn digest(&self, cx: &StepCx, of: &ImageRef) -> Result<Option<Digest>> {
        self.registry.digest(cx, of).await
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        self.registry.sweep(build).await
    }
}

impl Images for Real {
    fn there(&self) -> String {
        self.image.name.clone()
    }

    fn target(&self, repository: &str) -> ImageRef {
        ImageRef::parse(&format!("{}/{repository}", self.prefix)).unwrap()
    }
}

/// The adapter with a registry, and logged in if that wants a password.
async fn fresh(test: &str, name: &str) -> Option<Fresh<Real>> {
    let service = service(test, name)?;
    let host = service["host"].as_str().unwrap();
    let logins = tempfile::tempdir().unwrap();
    if let (Some(user), Some(password)) =
        (service["username"].as_str(), service["password"].as_str())
    {
        crate::refusals::write_login(logins.path(), host, user, password);
    }
    let registry = registry_of(Some(logins.path()));
    let prefix = format!("{host}/{}", BuildId::random());
    let real = Real { registry, image: TestImage::new(100).await, prefix };
    Some(Fresh::new(Arc::new(real)).keep(logins))
}

/// As the suite's macro, but skipped where there is no engine.
macro_rules! real_suite {
    ($module:ident, $service:literal) => {
        mod $module {
            kiln_conformance::registry_suite!(match super::fresh(stringify!($module), $service)
                .await
            {
                Some(fresh) => fresh,
                None => return,
            });
        }
    };
}

real_suite!(plain, "registry");
real_suite!(with_password, "registry-auth");
