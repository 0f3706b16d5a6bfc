//! From a box and services as they are written to those of a plan.

use super::{Settings, scope::IsSecret, scope::LAST_BUILD_BOX, scope::Scope, trouble::Trouble};
use crate::{
    file::{BoxDef, Pipeline, Spanned, words},
    step::{Export, Paths, Template},
};
use kiln::{
    BoxName, BoxSpec, ImageRef, Mount, MountSource, Port, Protocol, RelPath, Resources, SecretRef,
    ServiceSpec, secret::Value,
};
use std::{collections::BTreeMap, path::PathBuf};

/// Where in the workspace things are that the box sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// What steps work on.
    pub source: RelPath,
    /// The code of steps.
    pub steps: RelPath,
    /// Where files of the box go from which an image is built.
    pub exchange: RelPath,
}

/// Where in the box [`Places::exchange`] is.
pub(super) const EXCHANGE: &str = "/mnt/wercker/exchange";

/// The box of a pipeline, and what has to be exported in it since only there it has its value.
#[derive(Debug)]
pub(super) struct Boxed {
    pub(super) spec: BoxSpec,
    pub(super) exports: Vec<Export>,
}

/// Makes boxes.
#[derive(Debug)]
pub(super) struct Boxes<'a, 'b> {
    pub(super) settings: &'a Settings,
    pub(super) scope: &'b Scope,
    pub(super) trouble: &'b mut Trouble<'a>,
    /// Whether steps take files out of the box.
    pub(super) exchange: bool,
}

impl Boxes<'_, '_> {
    /// The box with its services; none if something is wrong, which is then in the trouble.
    pub(super) fn main(
        &mut self,
        pipeline: &Pipeline,
        paths: &Paths,
        places: &Places,
    ) -> Option<Boxed> {
        let def = &pipeline.box_def;
        let image = self.image(def, "box");
        let shared = u64::try_from(pipeline.services.len()).unwrap_or(u64::MAX);
        let memory = self.settings.memory_bytes.unwrap_or_default();
        let of_box = if shared == 0 { memory } else { memory / 4 * 3 };
        let services = self.services(pipeline, memory.checked_div(4 * shared).unwrap_or_default());
        let (env, exports) = self.env(def);
        let mounts = self.mounts(def, paths, places);
        let ports = self.ports(def);
        self.ignored(def);
        let image = image?;
        let credentials = self.credentials(def, &image);
        let spec = BoxSpec {
            env,
            mounts,
            services,
            ports,
            link_env: true,
            resources: Resources { memory_bytes: of_box, ..Resources::default() },
            credentials,
            ..BoxSpec::new(image)
        };
        Some(Boxed { spec, exports })
    }

    fn image(&mut self, def: &BoxDef, what: &str) -> Option<ImageRef> {
        if let Some(url) = &def.url {
            let message = format!("a {what} that is another project (`url`) is not supported");
            self.trouble.error(
                url.place,
                "box-url",
                message,
                "Build it first, and name its image.",
            );
            return None;
        }
        let used = |text: &Spanned<String>| {
            let template = Template::parse(text);
            let secret = template.variables().find(|n| self.is_secret(n)).map(str::to_owned);
            secret.map(|name| (text.place, name))
        };
        if let Some((place, name)) =
            [Some(&def.id), def.tag.as_ref()].into_iter().flatten().find_map(used)
        {
            self.secret(place, &name, "the name of an image");
            return None;
        }
        match def.image(&|name| self.scope.text(name)) {
            Ok(image) => Some(image),
            Err(e)
                if def.id.contains(LAST_BUILD_BOX) && self.scope.text(LAST_BUILD_BOX).is_none() =>
            {
                let message =
                    format!("there is no {LAST_BUILD_BOX}: no build of this left an image");
                let help = "Build first, with a commit of the box, or name the image.";
                self.trouble.error(e.place, "no-last-build", message, help);
                None
            }
            Err(e) => {
                let message = format!("`{}` is no image for a {what}: {}", e.name, e.problem);
                self.trouble.error(e.place, "bad-image", message, "");
                None
            }
        }
    }

    fn is_secret(&self, name: &str) -> bool {
        matches!(self.scope.all().get(name), Some(Value::Secret(_)))
    }

    fn secret(&mut self, place: crate::file::Place, name: &str, what: &str) {
        let message = format!("${name} is a secret, and {what} is there for all to see");
        self.trouble.error(place, "secret-here", message, "Use a variable that is no secret.");
    }

    /// Variables with a value of their own, and those whose value is only known in the box.
    fn env(&mut self, def: &BoxDef) -> (BTreeMap<String, Value>, Vec<Export>) {
        let (mut env, mut exports) = (BTreeMap::new(), Vec::new());
        for property in &def.env {
            let name = property.key.value.clone();
            let value = Template::parse(&property.value);
            match value.as_literal() {
                Some(text) => {
                    env.insert(name, Value::Text(text.into_owned()));
                }
                None => exports.push(Export { name, value }),
            }
        }
        (env, exports)
    }

    fn mounts(&mut self, def: &BoxDef, paths: &Paths, places: &Places) -> Vec<Mount> {
        let workspace = |path: &RelPath, target: &str| Mount {
            source: MountSource::Workspace(path.clone()),
            target: target.to_owned(),
            read_only: true,
        };
        let mut mounts = vec![workspace(&places.steps, &paths.mounted_steps)];
        match &self.settings.direct_mount {
            None => mounts.push(workspace(&places.source, &paths.mounted_source)),
            Some(directory) => mounts.push(Mount {
                source: MountSource::Directory(directory.clone()),
                target: paths.root(),
                read_only: false,
            }),
        }
        if self.exchange {
            mounts.push(Mount { read_only: false, ..workspace(&places.exchange, EXCHANGE) });
        }
        for volume in &def.volumes {
            let Some(host) = &volume.host else {
                let message = format!("`{}` needs no volume: it has no effect", volume.guest);
                self.trouble.warning(volume.place, "empty-volume", message, "");
                continue;
            };
            if !self.settings.volumes {
                let message = "a box has no directories of the host here";
                let help = "They are allowed in runs on this machine alone, and on request.";
                self.trouble.error(volume.place, "volumes-not-allowed", message, help);
                continue;
            }
            let Some(host) = self.expanded(&Spanned::new(host.clone(), volume.place), "a volume")
            else {
                continue;
            };
            if !host.starts_with('/') {
                let message = format!("`{host}` is no absolute path of the host");
                self.trouble.error(volume.place, "bad-volume", message, "");
                continue;
            }
            mounts.push(Mount {
                source: MountSource::Directory(PathBuf::from(host)),
                target: volume.guest.clone(),
                read_only: volume.read_only,
            });
        }
        mounts
    }

    fn ports(&self, def: &BoxDef) -> Vec<Port> {
        if !self.settings.expose_ports {
            return Vec::new();
        }
        let port = |port: &Spanned<crate::file::PortDef>| Port {
            port: port.guest,
            protocol: if port.udp { Protocol::Udp } else { Protocol::Tcp },
            host_port: port.host,
            address: port.address,
        };
        def.ports.iter().map(port).collect()
    }

    /// What a box may say and only a service can have.
    fn ignored(&mut self, def: &BoxDef) {
        for (key, value) in [("cmd", &def.cmd), ("entrypoint", &def.entrypoint)] {
            let Some(value) = value else { continue };
            let shell = words(value).is_some_and(|w| {
                let program = w.first().and_then(|p| p.rsplit('/').next()).unwrap_or_default();
                w.len() == 1 && ["sh", "bash"].contains(&program)
            });
            if !shell {
                let message = format!("`{key}` of the box has no effect: steps run in a shell");
                self.trouble.warning(value.place, "box-command", message, "");
            }
        }
    }

    fn credentials(&mut self, def: &BoxDef, image: &ImageRef) -> Option<SecretRef> {
        let login = self.settings.logins.get(image.registry()).cloned();
        let written = def.password.as_ref().map(|p| p.place);
        if let (None, Some(place)) = (&login, written.or(def.username.as_ref().map(|u| u.place))) {
            let message = format!("there is no login for `{}`", image.registry());
            let help = "A password in the file is not used: give the run a login for the registry.";
            self.trouble.hidden(place, "no-login", message, help);
        }
        login
    }

    /// A text with its variables filled in.
    fn expanded(&mut self, text: &Spanned<String>, what: &str) -> Option<String> {
        match self.scope.expand(text) {
            Ok(text) => Some(text),
            Err(IsSecret(name)) => {
                self.secret(text.place, &name, what);
                None
            }
        }
    }

    fn services(&mut self, pipeline: &Pipeline, memory: u64) -> BTreeMap<BoxName, ServiceSpec> {
        let mut services = BTreeMap::new();
        for def in &pipeline.services {
            let Some((name, mut spec)) = self.service(def) else { continue };
            spec.resources.memory_bytes = memory;
            let place = def.name.as_ref().map_or(def.place, |name| name.place);
            if services.insert(name.clone(), spec).is_some() {
                let message = format!("two services are called `{name}`");
                self.trouble.error(place, "same-service", message, "Give one of them a `name`.");
            }
        }
        services
    }

    fn service(&mut self, def: &BoxDef) -> Option<(BoxName, ServiceSpec)> {
        let image = self.image(def, "service")?;
        let place = def.name.as_ref().map_or(def.id.place, |name| name.place);
        let alias = def.alias(&image);
        let name = match BoxName::new(&alias) {
            Ok(name) => Some(name),
            Err(e) => {
                let message = format!("a service cannot be called that: {e}");
                self.trouble.error(place, "bad-service-name", message, "Give it a `name`.");
                None
            }
        };
        let env = self.service_env(def);
        let argv = self.words(def.cmd.as_ref(), "cmd");
        let entrypoint = self.words(def.entrypoint.as_ref(), "entrypoint");
        for port in def.ports.iter().take(usize::from(self.settings.expose_ports)) {
            let message = "the ports of a service cannot be reached from the host";
            self.trouble.warning(port.place, "service-ports", message, "Steps reach all of them.");
        }
        for volume in &def.volumes {
            let message = "a service has no directories of the host";
            self.trouble.error(volume.place, "service-volumes", message, "");
        }
        let credentials = self.credentials(def, &image);
        Some((name?, ServiceSpec { env, argv, entrypoint, credentials, ..ServiceSpec::new(image) }))
    }

    /// A service has no shell of ours: what its variables are is decided before it is there.
    fn service_env(&mut self, def: &BoxDef) -> BTreeMap<String, Value> {
        let mut env = BTreeMap::new();
        for property in &def.env {
            match self.scope.value(&property.value) {
                Ok(value) => {
                    env.insert(property.key.value.clone(), value);
                }
                Err(IsSecret(name)) => {
                    let message =
                        format!("${name} is a secret, and has to be the whole value here");
                    let help = "Make a secret of all of it.";
                    self.trouble.error(property.value.place, "secret-in-text", message, help);
                }
            }
        }
        env
    }

    fn words(&mut self, text: Option<&Spanned<String>>, key: &str) -> Vec<String> {
        let Some(text) = text else { return Vec::new() };
        let Some(expanded) = self.expanded(text, "a command") else { return Vec::new() };
        words(&expanded).unwrap_or_else(|| {
            let message = format!("`{key}` has a quote without an end");
            self.trouble.error(text.place, "open-quote", message, "");
            Vec::new()
        })
    }
}
