//! Images that steps of a pipeline make and push.

use super::{
    StepCode,
    compose::{Chain, Composer, box_name},
    internal::Exchange,
};
use crate::{
    file::Place,
    step::{DockerBuild, DockerPush, RegistryAuth, quote},
};
use kiln::{
    Attempts, BuildSpec, CommitSpec, ContainerRef, Context, ImageFrom, ImageRef, Op, Recipe,
    RelPath, SecretRef, Step, StepId, When, secret::Value,
};

/// How often a push is tried.
pub(super) const PUSHES: u8 = 3;

impl Composer<'_> {
    /// `internal/docker-push`.
    pub(super) fn docker_push(
        &mut self,
        chain: &mut Chain,
        code: &StepCode,
        name: &str,
        push: &DockerPush,
    ) {
        let Some(tags) = self.targets(code, push) else { return };
        let made = match &push.image_name {
            Some(image) => {
                let Some(&built) = self.built.get(image) else {
                    let message = format!("no step before this one builds an image `{image}`");
                    let help = "`internal/docker-build` does, with that `image-name`.";
                    return self.trouble.error(code.def.place(), "no-such-image", message, help);
                };
                if !push.image.changes().is_empty() {
                    let message =
                        format!("what step `{}` says of the image has no effect", code.step);
                    let help = "Say it in the Dockerfile.";
                    self.trouble.warning(code.def.place(), "no-effect", message, help);
                }
                built
            }
            None => {
                let spec = CommitSpec {
                    tags: tags.clone(),
                    author: push.image.author.clone(),
                    message: push.image.message.clone(),
                    changes: push.image.changes(),
                    ..CommitSpec::default()
                };
                let op = Op::Commit { container: ContainerRef::Box(box_name()), spec };
                let name = self.names.take(name);
                self.link(chain, Step::new(name, op))
            }
        };
        self.pushes(chain, code, made, &tags, &push.auth);
    }

    /// `internal/docker-scratch-push`: an image of nothing but the output, or of the source where
    /// there is none. Its files leave the box as an archive, so that owners and modes stay.
    pub(super) fn scratch_push(
        &mut self,
        chain: &mut Chain,
        code: &StepCode,
        name: &str,
        push: &DockerPush,
    ) {
        let (Some(tags), Some(exchange)) = (self.targets(code, push), self.exchange(code)) else {
            return;
        };
        let text = pack(&self.paths.output(), &self.paths.root(), &exchange);
        self.aside(chain, &format!("{name}: files"), text);
        let mut recipe = String::from("FROM scratch\nADD layer.tar /\n");
        if let Some(author) = &push.image.author {
            let author = serde_json::Value::from(author.as_str());
            recipe.push_str(&format!("LABEL org.opencontainers.image.authors={author}\n"));
        }
        for change in push.image.changes() {
            recipe.push_str(&change);
            recipe.push('\n');
        }
        let mut spec = BuildSpec::new(Recipe::Inline { text: recipe });
        spec.context = Context::Workspace { path: exchange.path };
        spec.tags.clone_from(&tags);
        let name = self.names.take(name);
        let made = self.link(chain, Step::build(name, spec));
        self.pushes(chain, code, made, &tags, &push.auth);
    }

    /// `internal/docker-build`: the context is the source as it is in the box by then.
    pub(super) fn docker_build(
        &mut self,
        chain: &mut Chain,
        code: &StepCode,
        name: &str,
        build: &DockerBuild,
    ) {
        self.ignored(code, build);
        let Some(exchange) = self.exchange(code) else { return };
        let place = code.def.place();
        let from = match build.context.as_deref().unwrap_or_default() {
            dir if dir.starts_with('/') => dir.to_owned(),
            dir => match RelPath::new(dir) {
                Ok(dir) => format!("{}/{dir}", self.paths.root()),
                Err(e) => return self.trouble.error(place, "bad-context", e.to_string(), ""),
            },
        };
        let image = ImageRef::parse(&build.image_name)
            .and_then(|image| image.without_tag().with_tag(self.recipe.run_id));
        let image = match image {
            Ok(image) => image,
            Err(e) => return self.trouble.error(place, "bad-image", e.to_string(), ""),
        };
        self.aside(chain, &format!("{name}: context"), copy_out(&from, &exchange));
        let path = build.dockerfile.as_ref().map(Into::into);
        let mut spec = BuildSpec::new(Recipe::Dockerfile { path });
        spec.context = Context::Workspace { path: exchange.path };
        spec.tags = vec![image];
        spec.args = build.build_args.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
        spec.labels = build.labels.iter().cloned().collect();
        spec.no_cache = build.no_cache;
        spec.credentials.clone_from(&self.settings.logins);
        let name = self.names.take(name);
        let made = self.link(chain, Step::build(name, spec));
        self.built.insert(build.image_name.clone(), made);
    }

    fn ignored(&mut self, code: &StepCode, build: &DockerBuild) {
        let place = code.def.place();
        if !build.extra_hosts.is_empty() {
            let help = "Remove `extra-hosts`.";
            self.missing(place, "a build cannot be given more names of hosts", help);
        }
        let rows = [
            ("squash", build.squash, "The layers stay as they are."),
            ("q", build.quiet, "The log has everything."),
            (
                "registry-auth-config",
                build.registry_auth_config.is_some(),
                "Give the run the logins of its registries.",
            ),
        ];
        for (key, _, help) in rows.into_iter().filter(|(_, asked, _)| *asked) {
            let message = format!("`{key}` of step `{}` has no effect", code.step);
            self.trouble.warning(place, "no-effect", message, help);
        }
    }

    /// The names under which an image is pushed.
    fn targets(&mut self, code: &StepCode, push: &DockerPush) -> Option<Vec<ImageRef>> {
        let place = code.def.property("repository").map_or(code.def.place(), |r| r.place);
        let repository = push.repository.as_ref().or(push.image_name.as_ref())?;
        let named = ImageRef::parse(repository);
        let host = push.auth.registry.as_deref().and_then(host);
        // As the original: the registry may be told apart from the repository.
        let named = match (named, host) {
            (Ok(image), Some(host)) if image.registry() == "docker.io" && !is_hub(host) => {
                ImageRef::parse(&format!("{host}/{repository}"))
            }
            (named, _) => named,
        };
        let tags = if push.tags.is_empty() { vec!["latest".to_owned()] } else { push.tags.clone() };
        let all = named.and_then(|image| {
            let image = image.without_tag();
            tags.iter().map(|tag| image.with_tag(tag)).collect::<Result<Vec<_>, _>>()
        });
        all.map_err(|e| self.trouble.error(place, "bad-image", e.to_string(), "")).ok()
    }

    /// Pushes an image under all its names, one after the other: after the first one the registry
    /// has its layers, and side by side they would be in each other's way.
    fn pushes(
        &mut self,
        chain: &mut Chain,
        code: &StepCode,
        made: StepId,
        tags: &[ImageRef],
        auth: &RegistryAuth,
    ) {
        for to in tags {
            let credentials = self.login(code.def.place(), auth, to);
            let op = Op::Push { image: ImageFrom::Step(made), to: to.clone(), credentials };
            let name = self.names.take(&format!("push {to}"));
            let mut step = Step::new(name, op).attempts(Attempts::up_to(PUSHES));
            step.needs.clone_from(&chain.tail);
            step.needs.push(made);
            step.needs.sort();
            step.needs.dedup();
            // Without an image there is nothing to push, also in an after-step.
            (step.when, step.may_fail) = (When::Success, chain.may_fail);
            chain.tail = vec![self.builder.step(step)];
        }
    }

    /// The login for a registry: that of the run, or a secret that is the whole login.
    fn login(&mut self, place: Place, auth: &RegistryAuth, to: &ImageRef) -> Option<SecretRef> {
        if let Some(login) = self.settings.logins.get(to.registry()) {
            return Some(login.clone());
        }
        let Some(password) = &auth.password else {
            if auth.username.is_some() {
                self.no_login(place, to);
            }
            return None;
        };
        let mut names = password.variables();
        if let (Some(name), None, None) = (names.next(), names.next(), &auth.username)
            && password.parts().len() == 1
            && let Some(Value::Secret(secret)) = self.scope.all().get(name)
        {
            return Some(secret.clone());
        }
        self.no_login(place, to);
        None
    }

    fn no_login(&mut self, place: Place, to: &ImageRef) {
        let message = format!("there is no login for `{}`", to.registry());
        let help = "Give the run a login for the registry; or give `password` alone, as a secret \
                    variable with `user:password` in it.";
        self.trouble.hidden(place, "no-login", message, help);
    }
}

/// The host in the address of a registry, such as `https://registry.test:5000/v2/`.
fn host(address: &str) -> Option<&str> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().filter(|host| !host.is_empty())
}

fn is_hub(host: &str) -> bool {
    ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]
        .contains(&host)
}

/// Copies a directory out of the box. Whoever has the workspace can read and remove it then.
fn copy_out(from: &str, exchange: &Exchange) -> String {
    let (from, to) = (quote(from), quote(&exchange.in_box));
    format!(
        "set -e\nrm -rf {to}\nmkdir {to}\ncp -RP {from}/. {to}/\nset -- $(ls -nd {}/.)\n\
         if [ \"$(id -u)\" = 0 ]; then chown -hR \"$3:$4\" {to}; fi\n",
        super::boxes::EXCHANGE
    )
}

/// Packs the first of two directories that holds anything into an archive outside of the box.
fn pack(output: &str, source: &str, exchange: &Exchange) -> String {
    let (output, source, to) = (quote(output), quote(source), quote(&exchange.in_box));
    format!(
        "set -e\nrm -rf {to}\nmkdir {to}\nfrom={output}\n\
         [ -n \"$(ls -A \"$from\" 2>/dev/null)\" ] || from={source}\n\
         tar -C \"$from\" -cf {to}/layer.tar .\nset -- $(ls -nd {}/.)\n\
         if [ \"$(id -u)\" = 0 ]; then chown -hR \"$3:$4\" {to}; fi\n",
        super::boxes::EXCHANGE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_registry_is_found_in_its_address() {
        for (address, expected) in [
            ("https://registry.test:5000/v2/", Some("registry.test:5000")),
            ("gcr.io", Some("gcr.io")),
            ("https://index.docker.io/v1/", Some("index.docker.io")),
            ("", None),
            ("https://", None),
        ] {
            assert_eq!(host(address), expected, "{address}");
        }
    }
}
