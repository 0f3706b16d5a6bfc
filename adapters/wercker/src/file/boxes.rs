use super::{Place, Property, Spanned};
use kiln::ImageRef;
use serde::{Serialize, Serializer};
use std::{collections::BTreeMap, fmt, net::IpAddr};

/// A box or a service as it is written: a name, or a map.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BoxDef {
    /// Where it begins.
    #[serde(skip)]
    pub place: Place,
    /// The name of its image, or of a variable that holds one; empty only where there is a `url`.
    pub id: Spanned<String>,
    /// The tag, in place of that in the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Spanned<String>>,
    /// The alias of a service, in place of the last part of the image's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Spanned<String>>,
    /// Its command, as words of a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Spanned<String>>,
    /// Its entry point, as words of a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Spanned<String>>,
    /// Its variables, with names in upper case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<Property>,
    /// Ports to publish.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Spanned<PortDef>>,
    /// Directories of the host in the box.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Spanned<VolumeDef>>,
    /// The address of a service that is another project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Spanned<String>>,
    /// Who logs in to the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Spanned<String>>,
    /// With which password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Spanned<Hidden>>,
    /// The registry, where the name of the image does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<Spanned<String>>,
    /// The keys for registries of Amazon and Azure, by their names. They have no effect.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cloud: BTreeMap<String, Spanned<Hidden>>,
}

/// A port to publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortDef {
    /// The address of the host; its own loopback where none is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The port of the host; one that is free where none is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<u16>,
    /// The port of the box.
    pub guest: u16,
    /// Whether it is UDP and not TCP.
    pub udp: bool,
}

/// A directory of the host in a box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumeDef {
    /// The directory of the host; a volume without a name where none is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The directory in the box.
    pub guest: String,
    /// Whether it cannot be written to.
    pub read_only: bool,
}

/// A text that is not shown, except for one that only names variables.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl Hidden {
    /// Whether it is just the name of a variable.
    pub fn is_variable(&self) -> bool {
        let Some(rest) = self.0.strip_prefix('$') else { return false };
        let name = rest.strip_prefix('{').and_then(|r| r.strip_suffix('}')).unwrap_or(rest);
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    fn shown(&self) -> &str {
        if self.is_variable() || self.0.is_empty() { &self.0 } else { "***" }
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.shown(), f)
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown().serialize(serializer)
    }
}

/// Why a box has no image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoImage {
    /// Where the text is.
    pub place: Place,
    /// The name, with its variables filled in.
    pub name: String,
    /// What is wrong, and perhaps what was meant.
    pub problem: String,
}

impl BoxDef {
    /// The image, with variables filled in; one that is not there is empty.
    pub fn image(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<ImageRef, NoImage> {
        let name = super::text::expand(&self.id, variable);
        let fail = |place: Place, problem: String| NoImage { place, name: name.clone(), problem };
        let image = ImageRef::parse(&name).map_err(|e| fail(self.id.place, e.to_string()))?;
        let Some(tag) = &self.tag else { return Ok(image) };
        let text = super::text::expand(tag, variable);
        if text.is_empty() {
            return Ok(image);
        }
        image.with_tag(&text).map_err(|e| fail(tag.place, e.to_string()))
    }

    /// Whether the image is known only when variables are.
    pub fn has_variables(&self) -> bool {
        let tag = self.tag.as_ref().is_some_and(|tag| super::text::has_variable(tag));
        tag || super::text::has_variable(&self.id)
    }

    /// The name by which a service is reached: `name`, or the last part of the image's name.
    pub fn alias(&self, image: &ImageRef) -> String {
        match &self.name {
            Some(name) => name.value.clone(),
            None => image.repository().rsplit('/').next().unwrap_or_default().to_owned(),
        }
    }
}
