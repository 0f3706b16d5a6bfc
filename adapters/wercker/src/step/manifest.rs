//! What a step says of itself: `step.yml` and, from before it, `wercker-step.yml`.

mod read;

pub use read::ManifestRead;

use std::fmt;

/// The file of a manifest in which properties are a list.
pub const STEP_YML: &str = "step.yml";
/// The older file, in which properties are a map. Where both are there, it is not read.
pub const WERCKER_STEP_YML: &str = "wercker-step.yml";
/// How long a manifest may be, in bytes.
pub const MANIFEST_MAX: usize = 256 * 1024;

/// A manifest of either age.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// What the step calls itself. Its variables are named after what `wercker.yml` calls it.
    pub name: Option<String>,
    /// Its own version.
    pub version: Option<String>,
    /// What it does: `summary`, or `description`.
    pub summary: Option<String>,
    /// What it is found by: `tags`, or `keywords`.
    pub tags: Vec<String>,
    /// What it can be told, in the order of the file.
    pub properties: Vec<PropertySpec>,
}

/// A property as a manifest declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertySpec {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// Whether a step has to be told.
    pub required: bool,
    /// Its value where nothing is told.
    pub default: Option<String>,
}

/// What values of a property are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    #[default]
    Text,
    /// A number, such as `1`, `-2.5` or `1e3`.
    Number,
    /// A whole number.
    Integer,
    /// Yes or no: `true`, `false`, `yes`, `no`, `on`, `off`, `1` or `0`.
    Boolean,
    /// One of these.
    Enum(Vec<String>),
}

impl Kind {
    /// Whether a text is such a value.
    pub fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Number => text.parse::<f64>().is_ok_and(f64::is_finite),
            Self::Integer => text.parse::<i64>().is_ok(),
            Self::Boolean => {
                let words = ["true", "false", "yes", "no", "on", "off", "1", "0"];
                words.iter().any(|w| text.eq_ignore_ascii_case(w))
            }
            Self::Enum(values) => values.iter().any(|v| v == text),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Integer => "a whole number",
            Self::Boolean => "`true` or `false`",
            Self::Enum(values) => {
                let values: Vec<_> = values.iter().map(|v| format!("`{v}`")).collect();
                return write!(f, "one of {}", values.join(", "));
            }
        })
    }
}
