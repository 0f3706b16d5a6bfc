//! Boxes and services.

use super::{
    BoxDef, Hidden, Place, PortDef, Spanned, VolumeDef,
    diagnostic::printable,
    keys::{self, Form},
    limits::SERVICES_MAX,
    reader::Reader,
    text::{has_variable, is_name, words},
    yaml::{Kind, Node},
};
use std::collections::{BTreeMap, HashMap};

/// An empty definition at a place.
fn empty(place: Place, id: Spanned<String>) -> BoxDef {
    BoxDef {
        place,
        id,
        tag: None,
        name: None,
        cmd: None,
        entrypoint: None,
        env: Vec::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        url: None,
        username: None,
        password: None,
        registry: None,
        cloud: BTreeMap::new(),
    }
}

impl Reader<'_> {
    /// A box: the name of an image, or a map. `what` is what it is.
    pub(crate) fn box_def(&mut self, node: &Node, what: &str) -> Option<BoxDef> {
        let def = match &*node.kind {
            Kind::Text { .. } => {
                let id = self.text(node, what)?;
                empty(node.place, id)
            }
            Kind::Map(_) => self.box_map(node, what)?,
            _ => {
                self.wrong(node, what, "the name of an image, or a map with `id`");
                return None;
            }
        };
        self.check_image(&def, what).then_some(def)
    }

    fn box_map(&mut self, node: &Node, what: &str) -> Option<BoxDef> {
        let errors = self.found.iter().filter(|d| d.is_error()).count();
        let mut def = empty(node.place, Spanned::new(String::new(), node.place));
        for (key, value) in self.entries(node, what)? {
            let Some(known) = keys::BOX.iter().find(|known| known.name == *key) else {
                self.unknown(&key, keys::BOX, what);
                continue;
            };
            match known.form {
                Form::Variables => def.env = self.variables(value),
                Form::Ports => def.ports = self.ports(value),
                Form::Volumes => def.volumes = self.volumes(value),
                _ if !known.effect => self.cloud(&key, value, &mut def),
                _ => self.box_text(&key, value, &mut def),
            }
        }
        self.check_login(&def);
        (self.found.iter().filter(|d| d.is_error()).count() == errors).then_some(def)
    }

    fn box_text(&mut self, key: &Spanned<String>, value: &Node, def: &mut BoxDef) {
        let Some(text) = self.text(value, &format!("`{}`", key.value)) else { return };
        match key.as_str() {
            "id" => def.id = text,
            "tag" => def.tag = Some(text),
            "name" => def.name = self.alias(text),
            "cmd" => def.cmd = self.command(text),
            "entrypoint" => def.entrypoint = self.command(text),
            "url" => def.url = self.url(text),
            "username" => def.username = Some(text),
            "registry" => def.registry = Some(text),
            "password" => {
                let text = text.map(Hidden);
                if !has_variable(&text.0) && !text.0.is_empty() {
                    let warning = self.source.warning(
                        key.place,
                        "literal-secret",
                        "a password is written in the file",
                    );
                    self.tell(
                        warning
                            .hidden()
                            .help("Write `password: $NAME`, and give the variable when it runs."),
                    );
                }
                def.password = Some(text);
            }
            _ => {}
        }
    }

    fn cloud(&mut self, key: &Spanned<String>, value: &Node, def: &mut BoxDef) {
        let Some(text) = self.text(value, &format!("`{}`", key.value)) else { return };
        let message = format!("`{}` has no effect: Kiln asks no cloud for a login", key.value);
        let warning = self.source.warning(key.place, "unsupported-key", message);
        self.tell(warning.help("Use `username` and `password`, or log in to the registry before."));
        def.cloud.insert(key.value.clone(), text.map(Hidden));
    }

    fn check_login(&mut self, def: &BoxDef) {
        let (there, missing) = match (&def.username, &def.password) {
            (Some(name), None) => (name.place, "password"),
            (None, Some(password)) => (password.place, "username"),
            _ => return,
        };
        let message = format!("there is no `{missing}` beside it, so nobody logs in");
        let warning = self.source.warning(there, "half-login", message);
        self.tell(warning.expected("both `username` and `password`"));
    }

    fn check_image(&mut self, def: &BoxDef, what: &str) -> bool {
        if def.id.trim().is_empty() {
            if def.url.is_some() {
                return true;
            }
            let error = self.source.error(def.place, "no-image", format!("{what} names no image"));
            self.tell(error.expected("`id:` with the name of an image"));
            return false;
        }
        if def.has_variables() {
            return true;
        }
        let Err(why) = def.image(&|_| None) else { return true };
        let error = self.source.error(why.place, "image-name", why.problem);
        let error = error.expected("`[registry[:port]/]name[:tag][@sha256:…]`");
        let old = def.id.rsplit_once('@').filter(|(_, v)| !v.contains([':', '/']));
        let error = match old {
            Some((name, version)) => error.help(format!(
                "`@` is for digests; a version is a tag: `{}`.",
                printable(&format!("{name}:{version}"), 100)
            )),
            None => error,
        };
        self.tell(error);
        false
    }

    /// The name of a service is a host name and, in upper case, a part of names of variables.
    fn alias(&mut self, text: Spanned<String>) -> Option<Spanned<String>> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if has_variable(&text) || begins && text.len() <= 63 && text.chars().all(fine) {
            return Some(text);
        }
        let error =
            self.source.error(text.place, "service-name", "the name of a service is no host name");
        self.tell(
            error.expected(
                "up to 63 letters, digits, `-`, `_` and `.`, the first a letter or digit",
            ),
        );
        None
    }

    fn command(&mut self, text: Spanned<String>) -> Option<Spanned<String>> {
        if words(&text).is_some() {
            return Some(text);
        }
        let error =
            self.source.error(text.place, "unbalanced-quote", "a quote in the command has no end");
        self.tell(error.expected("words as a shell has them"));
        None
    }

    fn url(&mut self, text: Spanned<String>) -> Option<Spanned<String>> {
        if text.starts_with("file://") || has_variable(&text) {
            return Some(text);
        }
        let error = self.source.error(
            text.place,
            "service-url",
            "the address of a service is no `file://` URL",
        );
        self.tell(error.expected("`file://` and the path of a project"));
        None
    }

    fn variables(&mut self, node: &Node) -> Vec<super::Property> {
        let mut list = self.properties(node, "`env`");
        let mut seen: HashMap<String, Place> = HashMap::new();
        for variable in &mut list {
            let place = variable.key.place;
            let name = variable.key.to_ascii_uppercase();
            if !is_name(&name) {
                let error = self.source.error(
                    place,
                    "variable-name",
                    "a name of a variable has another character",
                );
                self.tell(error.expected("letters, digits and `_`, and no digit first"));
            } else if let Some(first) = seen.insert(name.clone(), place) {
                let message =
                    format!("the variable {name} is there twice, since names become upper case");
                let error = self.source.error(place, "duplicate-key", message);
                self.tell(error.related(first, "it is here first"));
            }
            variable.key.value = name;
        }
        list
    }

    fn ports(&mut self, node: &Node) -> Vec<Spanned<PortDef>> {
        let Some(list) = self.list(node, "`ports`", "ports, such as `- 8080:80`") else {
            return Vec::new();
        };
        let mut ports = Vec::new();
        for item in list {
            let Some(text) = self.text(item, "a port") else { continue };
            if let Some(port) = port(&text) {
                ports.push(Spanned::new(port, item.place));
            } else {
                let error = self.source.error(item.place, "port", "that is no port");
                self.tell(error.expected("`box`, `host:box` or `address:host:box`, each from 1 to 65535, and perhaps `/udp`"));
            }
        }
        ports
    }

    fn volumes(&mut self, node: &Node) -> Vec<Spanned<VolumeDef>> {
        let texts: Vec<Spanned<String>> = match &*node.kind {
            Kind::List(list) => {
                list.iter().filter_map(|item| self.text(item, "a volume")).collect()
            }
            _ => self.text(node, "`volumes`").into_iter().collect(),
        };
        let mut volumes = Vec::new();
        for text in texts {
            for part in text.split([' ', ',', '\n', '\t']).filter(|part| !part.is_empty()) {
                if let Some(volume) = volume(part) {
                    volumes.push(Spanned::new(volume, text.place));
                } else {
                    let message = format!("`{}` is no volume", printable(part, 100));
                    let error = self.source.error(text.place, "volume", message);
                    self.tell(error.expected(
                        "`host:box`, or `host:box:ro`, with absolute paths and without `..`",
                    ));
                }
            }
        }
        volumes
    }

    /// All services of a list, each reached by another name.
    pub(crate) fn services(&mut self, node: &Node) -> Option<Vec<BoxDef>> {
        let list = self.list(node, "`services`", "names of images, or maps with `id`")?;
        if !self.fits(node.place, list.len(), SERVICES_MAX, "services") {
            return None;
        }
        let mut services = Vec::new();
        let mut seen: HashMap<String, Place> = HashMap::new();
        for item in list {
            let Some(def) = self.box_def(item, "a service") else { continue };
            let known = def.name.is_some() || !def.has_variables() && !def.id.is_empty();
            let alias = def.image(&|_| None).ok().map(|image| def.alias(&image));
            if let Some(alias) = alias.filter(|_| known)
                && let Some(first) = seen.insert(alias.clone(), def.place)
            {
                let message = format!("two services are reached by the name `{alias}`");
                let error = self.source.error(def.place, "duplicate-service", message);
                let error = error.related(first, "the other one is here");
                self.tell(error.help("Give one of them a `name`."));
            }
            services.push(def);
        }
        Some(services)
    }
}

/// `box`, `host:box` or `address:host:box`, with a protocol.
fn port(text: &str) -> Option<PortDef> {
    let (text, udp) = match text.split_once('/') {
        Some((text, "tcp")) => (text, false),
        Some((text, "udp")) => (text, true),
        Some(_) => return None,
        None => (text, false),
    };
    let number = |t: &str| {
        let digits = !t.is_empty() && t.bytes().all(|c| c.is_ascii_digit());
        digits.then(|| t.parse::<u16>().ok()).flatten().filter(|&n| n > 0)
    };
    let Some((rest, guest)) = text.rsplit_once(':') else {
        return Some(PortDef { address: None, host: None, guest: number(text)?, udp });
    };
    let guest = number(guest)?;
    let (address, host) = match rest.rsplit_once(':') {
        Some((address, host)) => {
            let bare =
                address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
            (Some(bare.parse().ok()?), host)
        }
        None => (None, rest),
    };
    let host = if host.is_empty() { None } else { Some(number(host)?) };
    Some(PortDef { address, host, guest, udp })
}

/// `host:box`, `host:box:ro`, or just a path in the box.
fn volume(text: &str) -> Option<VolumeDef> {
    let fine = |path: &str| {
        let absolute = path.starts_with('/') || has_variable(path) && path.starts_with('$');
        absolute && path.split('/').all(|part| part != "..")
    };
    let mut parts = text.split(':');
    let (host, guest) = match (parts.next()?, parts.next()) {
        (guest, None) => (None, guest),
        (host, Some(guest)) => (Some(host), guest),
    };
    let read_only = match parts.next() {
        None | Some("rw") => false,
        Some("ro") => true,
        Some(_) => return None,
    };
    let whole = parts.next().is_none() && fine(guest) && host.is_none_or(fine);
    whole.then(|| VolumeDef { host: host.map(str::to_owned), guest: guest.to_owned(), read_only })
}
