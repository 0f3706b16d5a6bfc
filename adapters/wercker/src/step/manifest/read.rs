//! Reads manifests.

use super::{Kind, MANIFEST_MAX, Manifest, PropertySpec};
use crate::file::{
    Diagnostic, Place, Source,
    yaml::{self, Node},
};
use crate::step::Template;

/// A manifest that was read, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct ManifestRead {
    /// The manifest; none if there is an error.
    pub manifest: Option<Manifest>,
    /// Everything that is wrong, with its place in the manifest.
    pub diagnostics: Vec<Diagnostic>,
}

impl Manifest {
    /// Reads a manifest of either age. `name` is what diagnostics call the file.
    ///
    /// Any bytes give an answer. Keys that mean nothing here are not looked at.
    pub fn parse(name: &str, text: &[u8]) -> ManifestRead {
        let start = Place { line: 1, column: 1, ..Place::default() };
        if text.len() > MANIFEST_MAX {
            let source = Source::new(name, "");
            let message = format!("the manifest has {} bytes", text.len());
            let error = source.error(start, "too-large", message);
            let error = error.expected(format!("at most {MANIFEST_MAX} bytes"));
            return ManifestRead { manifest: None, diagnostics: vec![error] };
        }
        let source = Source::new(name, &String::from_utf8_lossy(text));
        let mut diagnostics = Vec::new();
        let root = yaml::read(&source, &mut diagnostics);
        let mut reader = Reader { source: &source, diagnostics };
        let manifest = root.map(|root| reader.manifest(&root));
        let broken = reader.diagnostics.iter().any(Diagnostic::is_error);
        let manifest = if broken { None } else { Some(manifest.unwrap_or_default()) };
        ManifestRead { manifest, diagnostics: reader.diagnostics }
    }

    /// A property by its name.
    pub fn property(&self, name: &str) -> Option<&PropertySpec> {
        self.properties.iter().find(|p| p.name == name)
    }
}

struct Reader<'a> {
    source: &'a Source,
    diagnostics: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn wrong(&mut self, node: &Node, what: &str, expected: &str) {
        let message = format!("{what} is {}", node.what());
        let error = self.source.error(node.place, "wrong-type", message).expected(expected);
        self.diagnostics.push(error);
    }

    fn manifest(&mut self, root: &Node) -> Manifest {
        let mut manifest = Manifest::default();
        let yaml::Kind::Map(pairs) = &*root.kind else {
            self.wrong(root, "the manifest", "a map with `name`, `version` and `properties`");
            return manifest;
        };
        for (key, value) in pairs {
            match text(key).unwrap_or_default() {
                "name" => manifest.name = self.text("`name`", value),
                "version" => manifest.version = self.text("`version`", value),
                "summary" => manifest.summary = self.text("`summary`", value),
                "description" if manifest.summary.is_none() => {
                    manifest.summary = self.text("`description`", value);
                }
                "tags" | "keywords" => {
                    if let yaml::Kind::List(list) = &*value.kind {
                        manifest.tags.extend(list.iter().filter_map(text).map(str::to_owned));
                    }
                }
                "properties" => manifest.properties = self.properties(value),
                _ => {}
            }
        }
        manifest
    }

    fn text(&mut self, what: &str, node: &Node) -> Option<String> {
        if matches!(*node.kind, yaml::Kind::List(_) | yaml::Kind::Map(_)) {
            self.wrong(node, what, "a text");
        }
        text(node).map(str::to_owned)
    }

    fn properties(&mut self, node: &Node) -> Vec<PropertySpec> {
        let mut all: Vec<PropertySpec> = Vec::new();
        match &*node.kind {
            yaml::Kind::Null => {}
            yaml::Kind::Map(pairs) => {
                for (key, value) in pairs {
                    all.extend(self.property(text(key).map(str::to_owned), value));
                }
            }
            yaml::Kind::List(list) => {
                for value in list {
                    let Some(spec) = self.property(None, value) else { continue };
                    if all.iter().any(|other| other.name == spec.name) {
                        let message = format!("the property `{}` is declared twice", spec.name);
                        let error = self.source.error(value.place, "duplicate-key", message);
                        self.diagnostics.push(error);
                        continue;
                    }
                    all.push(spec);
                }
            }
            yaml::Kind::Text { .. } => {
                self.wrong(node, "`properties`", "a list with `- name: …`, or a map by names");
            }
        }
        all
    }

    /// Reads a property; its name is known where it is the key of a map.
    fn property(&mut self, name: Option<String>, node: &Node) -> Option<PropertySpec> {
        let empty = Vec::new();
        let pairs = match &*node.kind {
            yaml::Kind::Map(pairs) => pairs,
            yaml::Kind::Null if name.is_some() => &empty,
            _ => {
                self.wrong(node, "a property", "a map with `type`, `required` and `default`");
                return None;
            }
        };
        let in_list = name.is_none();
        let mut spec = PropertySpec {
            name: name.unwrap_or_default(),
            kind: Kind::Text,
            required: false,
            default: None,
        };
        let (mut kind, mut values) = (None, None);
        for (key, value) in pairs {
            match text(key).unwrap_or_default() {
                "name" if in_list => spec.name = self.text("`name`", value).unwrap_or_default(),
                "type" => kind = Some(value),
                "required" => spec.required = self.required(value),
                "default" => spec.default = self.text("`default`", value),
                "values" | "options" | "enum" => values = Some(value),
                _ => {}
            }
        }
        if spec.name.is_empty() {
            let error = self.source.error(node.place, "no-name", "a property has no name");
            self.diagnostics.push(error.expected("`name: …`"));
            return None;
        }
        spec.kind = self.kind(kind, values);
        if let Some(default) = spec.default.as_ref().filter(|d| !d.is_empty())
            && let Some(text) = Template::parse(default).as_literal()
            && !spec.kind.accepts(&text)
        {
            let message = format!("the default of `{}` is not {}", spec.name, spec.kind);
            self.diagnostics.push(self.source.error(node.place, "wrong-type", message));
        }
        Some(spec)
    }

    fn required(&mut self, node: &Node) -> bool {
        match text(node).unwrap_or_default().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => true,
            "" | "false" | "no" | "off" => false,
            _ => {
                self.wrong(node, "`required`", "`true` or `false`");
                false
            }
        }
    }

    fn kind(&mut self, kind: Option<&Node>, values: Option<&Node>) -> Kind {
        let list: Vec<_> = match values.map(|v| &*v.kind) {
            Some(yaml::Kind::List(list)) => {
                list.iter().filter_map(text).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let Some(node) = kind else {
            return if list.is_empty() { Kind::Text } else { Kind::Enum(list) };
        };
        match text(node).unwrap_or_default().to_ascii_lowercase().as_str() {
            _ if !list.is_empty() => Kind::Enum(list),
            "" | "string" | "text" | "str" => Kind::Text,
            "number" | "float" | "double" => Kind::Number,
            "integer" | "int" => Kind::Integer,
            "boolean" | "bool" => Kind::Boolean,
            "enum" => {
                let message = "the type `enum` has no values";
                let warning = self.source.warning(node.place, "unknown-type", message);
                self.diagnostics.push(warning.expected("`values: [a, b]` beside it"));
                Kind::Text
            }
            other => {
                let shown: String = other.chars().take(40).collect();
                let message = format!("`{shown}` is no type of a property, any text is taken");
                let warning = self.source.warning(node.place, "unknown-type", message);
                let types = "`string`, `number`, `integer`, `boolean` or `enum`";
                self.diagnostics.push(warning.expected(types));
                Kind::Text
            }
        }
    }
}

fn text(node: &Node) -> Option<&str> {
    match &*node.kind {
        yaml::Kind::Text { text, .. } => Some(text),
        _ => None,
    }
}
