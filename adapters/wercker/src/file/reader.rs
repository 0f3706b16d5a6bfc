//! What all parts of the file are read with: kinds of values, keys, and what to say of wrong ones.

use super::{
    Diagnostic, Place, Property, Source, Spanned,
    diagnostic::printable,
    keys::{self, Key},
    limits::{DIAGNOSTICS_MAX, PROPERTIES_MAX, VALUE_BYTES_MAX},
    lines::{line_at, next_line},
    mistake,
    text::nearest,
    yaml::{Kind, Node},
};
use std::time::Duration;

/// Reads values, and gathers what is wrong with them.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) source: &'a Source,
    pub(crate) found: Vec<Diagnostic>,
    /// How many were left out since there are too many.
    pub(crate) more: usize,
}

/// What may be among the keys of a map.
pub(crate) type Entries<'n> = Vec<(Spanned<String>, &'n Node)>;

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a Source) -> Self {
        Self { source, found: Vec::new(), more: 0 }
    }

    /// Keeps a diagnostic, unless there are too many.
    pub(crate) fn tell(&mut self, diagnostic: Diagnostic) {
        if self.found.len() < DIAGNOSTICS_MAX || diagnostic.is_error() && !self.has_errors() {
            self.found.push(diagnostic);
        } else {
            self.more += 1;
        }
    }

    /// Whether the file cannot be used.
    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(Diagnostic::is_error)
    }

    /// The keys and values of a map; of nothing, none. `what` is what the map is.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Option<Entries<'n>> {
        let Kind::Map(pairs) = &*node.kind else {
            if matches!(*node.kind, Kind::Null) {
                return Some(Vec::new());
            }
            self.wrong(node, what, "a map of keys and values");
            return None;
        };
        Some(pairs.iter().filter_map(|(key, value)| Some((self.key(key)?, value))).collect())
    }

    fn key(&mut self, node: &Node) -> Option<Spanned<String>> {
        let text = match &*node.kind {
            Kind::Text { text, .. } => text.clone(),
            _ => self.source.slice(node.place).to_owned(),
        };
        if text.trim().is_empty() {
            let error = self.source.error(node.place, "key", "a key is empty");
            self.tell(error.expected("a name before the colon"));
            return None;
        }
        if text.len() > 256 {
            let error = self.source.error(node.place, "too-long", "a key is longer than 256 bytes");
            self.tell(error);
            return None;
        }
        Some(Spanned::new(text, node.place))
    }

    /// The elements of a list; of nothing, none.
    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: &str, of: &str) -> Option<&'n [Node]> {
        match &*node.kind {
            Kind::List(list) => Some(list),
            Kind::Null => Some(&[]),
            _ => {
                self.wrong(node, what, &format!("a list of {of}"));
                None
            }
        }
    }

    /// A text as it is written, whatever its type; nothing is none.
    pub(crate) fn text(&mut self, node: &Node, what: &str) -> Option<Spanned<String>> {
        match &*node.kind {
            Kind::Text { text, .. } => self.bounded(node.place, what, text, VALUE_BYTES_MAX),
            Kind::Null => None,
            _ => {
                self.wrong(node, what, "a text");
                None
            }
        }
    }

    /// The value of a property of a step: no number with a point, no list, no map; nothing is empty.
    pub(crate) fn property(
        &mut self,
        key: &Spanned<String>,
        node: &Node,
        bytes_max: usize,
    ) -> Option<Spanned<String>> {
        let what = format!("`{}`", printable(key, 60));
        let text = match &*node.kind {
            Kind::Null => return Some(Spanned::new(String::new(), node.place)),
            Kind::Text { text, float: false } => text,
            Kind::Text { text, .. } => {
                let message = format!(
                    "{what} is a number with a point, which would reach the step as nothing in the original"
                );
                let error = self.source.error(node.place, "float", message);
                let error = error.expected("a text, a whole number, `true` or `false`");
                let shown = if self.source.hides(node.place) { "…" } else { text };
                self.tell(error.help(format!("Write \"{shown}\" in quotes.")));
                return None;
            }
            other => {
                let list = matches!(other, Kind::List(_));
                let (code, kind) =
                    if list { ("list-value", "a list") } else { ("map-value", "a map") };
                let message = format!(
                    "{what} is {kind}, which would reach the step as nothing in the original"
                );
                let error = self.source.error(node.place, code, message);
                let help = if list {
                    "Write the elements as one text, separated as the step expects it."
                } else {
                    "Indent the keys like their step's other properties, or write one text with `|`."
                };
                self.tell(error.expected("a text, a whole number, `true` or `false`").help(help));
                return None;
            }
        };
        self.bounded(node.place, &what, text, bytes_max)
    }

    fn bounded(
        &mut self,
        place: Place,
        what: &str,
        text: &str,
        max: usize,
    ) -> Option<Spanned<String>> {
        if text.len() <= max {
            return Some(Spanned::new(text.to_owned(), place));
        }
        let message = format!("{what} has {} bytes, which is more than {max}", text.len());
        let error = self.source.error(place, "too-long", message);
        self.tell(error.help("Put it into a file of the project, and name the file."));
        None
    }

    /// `true` or `false`, in any of the ways that YAML has for them.
    pub(crate) fn boolean(&mut self, node: &Node, what: &str) -> Option<Spanned<bool>> {
        let text = self.text(node, what)?;
        let value = match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => true,
            "false" | "no" | "off" | "n" => false,
            _ => {
                let error = self.source.error(
                    node.place,
                    "not-a-boolean",
                    format!("{what} is neither true nor false"),
                );
                self.tell(error.expected("`true` or `false`"));
                return None;
            }
        };
        Some(Spanned::new(value, node.place))
    }

    /// A time in minutes, which need not be whole; none for nothing and for 0.
    pub(crate) fn minutes(&mut self, node: &Node, what: &str) -> Option<Spanned<Duration>> {
        let text = self.text(node, what)?;
        let minutes = text.parse::<f64>().ok().filter(|m| (0.0..=1440.0).contains(m));
        let Some(minutes) = minutes else {
            let error = self.source.error(
                node.place,
                "not-minutes",
                format!("{what} is no time in minutes"),
            );
            self.tell(error.expected("a number from 0 to 1440, such as 25 or 0.5"));
            return None;
        };
        let time = Duration::try_from_secs_f64(minutes * 60.0).ok().filter(|t| !t.is_zero())?;
        Some(Spanned::new(time, node.place))
    }

    /// Keys and values as properties: of a box's `env`, say.
    pub(crate) fn properties(&mut self, node: &Node, what: &str) -> Vec<Property> {
        let mut list = Vec::new();
        let entries = self.entries(node, what).unwrap_or_default();
        if !self.fits(node.place, entries.len(), PROPERTIES_MAX, "keys") {
            return list;
        }
        for (key, value) in entries {
            let name = format!("`{}`", printable(&key, 60));
            let text = match *value.kind {
                Kind::Null => Some(Spanned::new(String::new(), value.place)),
                _ => self.text(value, &name),
            };
            list.extend(text.map(|value| Property { key, value }));
        }
        list
    }

    /// Whether there are not too many of something.
    pub(crate) fn fits(&mut self, place: Place, count: usize, max: usize, of: &str) -> bool {
        if count > max {
            let message = format!("there are {count} {of} here, and at most {max} may be");
            let error = self.source.error(place, "too-many", message);
            self.tell(error);
        }
        count <= max
    }

    /// A value of a wrong kind. Where lines were swallowed by a forgotten colon, that is told.
    pub(crate) fn wrong(&mut self, node: &Node, what: &str, expected: &str) {
        if matches!(*node.kind, Kind::Text { .. })
            && let Some(meant) = self.swallowed(node.place)
        {
            return self.tell(meant);
        }
        let error =
            self.source.error(node.place, "wrong-type", format!("{what} is {}", node.what()));
        self.tell(error.expected(expected));
    }

    fn swallowed(&self, place: Place) -> Option<Diagnostic> {
        let first = line_at(self.source, place);
        if let Some(told) = mistake::missing_space(self.source, first) {
            return Some(told);
        }
        let second = next_line(self.source, first).filter(|l| l.start < place.end)?;
        mistake::missing_colon(self.source, first, second)
    }

    /// A key that means nothing where it stands.
    pub(crate) fn unknown(&mut self, key: &Spanned<String>, known: &[Key], what: &str) {
        let shown = printable(key, 60);
        let message = format!("`{shown}` means nothing in {what}");
        let warning = self.source.warning(key.place, "unknown-key", message);
        let names = known.iter().map(|key| key.name);
        let other = keys::OTHER_NAMES
            .iter()
            .find(|(other, name)| *other == **key && keys::has(known, name));
        let warning = match other.map(|(_, name)| *name).or_else(|| nearest(key, names)) {
            Some(near) => warning.help(format!("Did you mean `{near}`?")),
            None => {
                let names: Vec<&str> = known.iter().filter(|k| k.effect).map(|k| k.name).collect();
                warning.expected(format!("one of `{}`", names.join("`, `")))
            }
        };
        self.tell(warning);
    }
}
