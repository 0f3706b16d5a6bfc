//! YAML as a tree of places: no types are guessed, aliases and merges are resolved, and what is
//! too large, too deep or there twice is told.

use super::{Diagnostic, Place, Source, limits::*, mistake, number};
use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};
use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

/// A value of the file.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it is written.
    pub(crate) place: Place,
    /// Whether other places may refer to it.
    pub(crate) anchored: bool,
    /// What it is.
    pub(crate) kind: Rc<Kind>,
    /// How many values it holds with itself, all aliases written out.
    size: usize,
    /// How many bytes of text it holds, all aliases written out.
    bytes: usize,
    /// How deep it goes.
    height: usize,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// Text, whatever type others would guess; `float` if it looks like a number with a point.
    Text { text: String, float: bool },
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file; each key once.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// What a reader is told that it is.
    pub(crate) fn what(&self) -> &'static str {
        match *self.kind {
            Kind::Null => "nothing",
            Kind::Text { float: true, .. } => "a number with a point",
            Kind::Text { .. } => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}

/// Reads the first document of a text; `None` if there is an error or nothing in it.
pub(crate) fn read(source: &Source, found: &mut Vec<Diagnostic>) -> Option<Node> {
    let mut tree = Tree::new(source);
    let result = tree.read();
    found.append(&mut tree.warnings);
    result.unwrap_or_else(|error| {
        found.push(*error);
        None
    })
}

type Outcome<T> = Result<T, Box<Diagnostic>>;

/// A list or a map whose end has not come yet.
struct Open {
    anchor: usize,
    place: Place,
    map: bool,
    /// Elements, or keys and values in turn.
    parts: Vec<Node>,
    seen: HashMap<String, Place>,
}

struct Tree<'a> {
    source: &'a Source,
    warnings: Vec<Diagnostic>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    pending: HashSet<usize>,
    size: usize,
    bytes: usize,
    root: Option<Node>,
    last: Option<Place>,
}

impl<'a> Tree<'a> {
    fn new(source: &'a Source) -> Self {
        Self {
            source,
            warnings: Vec::new(),
            open: Vec::new(),
            anchors: HashMap::new(),
            pending: HashSet::new(),
            size: 0,
            bytes: 0,
            root: None,
            last: None,
        }
    }

    fn read(&mut self) -> Outcome<Option<Node>> {
        let options = granit_parser::options! {
            emit_unresolved_aliases: true,
            flow_nesting_limit: DEPTH_MAX,
            block_nesting_limit: DEPTH_MAX,
        };
        let mut documents = 0;
        for event in Parser::new_from_str_with_options(self.source.text(), options) {
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => {
                    return Err(Box::new(mistake::diagnose(self.source, &error, self.last)));
                }
            };
            if let Event::DocumentStart(..) = event {
                documents += 1;
                if documents > 1 {
                    let message = "only the first document of the file is read";
                    let warning =
                        self.source.warning(self.place(span), "several-documents", message);
                    self.warnings.push(warning.help("Remove the line `---` before it."));
                    break;
                }
            }
            self.take(event, span)?;
        }
        Ok(self.root.take())
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Outcome<()> {
        let place = self.place(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.last = Some(place);
                let kind = self.scalar(&text, style, tag.as_deref(), span)?;
                let node = Node {
                    place,
                    anchored: anchor != 0,
                    size: 1,
                    bytes: text.len(),
                    height: 1,
                    kind: Rc::new(kind),
                };
                self.add(node, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(anchor, tag.as_deref(), span, false),
            Event::MappingStart(_, anchor, tag) => self.begin(anchor, tag.as_deref(), span, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(id, place),
            Event::UnresolvedAlias(name) => {
                let name = if self.source.hides(place) { "…".into() } else { name };
                let message = format!("`*{name}` refers to an anchor that is not there");
                let error = self.source.error(place, "unknown-anchor", message);
                Err(Box::new(
                    error
                        .expected(format!("`&{name}` before the value it stands for, further up"))
                        .help("A value that just begins with `*` has to be in quotes."),
                ))
            }
            _ => Ok(()),
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
    ) -> Outcome<Kind> {
        let text_tag = self.tag(tag, span)?;
        let place = self.place(span);
        if let Some(at) = text.find('\0') {
            let message = format!("the value has a NUL character (byte {at} of it)");
            let error = self.source.error(place, "nul", message);
            return Err(Box::new(error.expected("text without NUL: no variable can hold one")));
        }
        let plain = style == ScalarStyle::Plain && !text_tag;
        Ok(match text {
            "" | "~" | "null" | "Null" | "NULL" if plain => Kind::Null,
            _ => Kind::Text { text: text.to_owned(), float: plain && number::is_float(text) },
        })
    }

    /// Whether a tag says that a value is text. Only the tags of YAML itself mean something.
    fn tag(&self, tag: Option<&Tag>, span: Span) -> Outcome<bool> {
        let Some(tag) = tag else { return Ok(false) };
        match tag.core_suffix() {
            Some("str") => return Ok(true),
            Some("int" | "float" | "bool" | "null" | "seq" | "map") => return Ok(false),
            _ => {}
        }
        let shown = super::diagnostic::printable(&tag.original(), 40);
        let place = self.place(span.tag_span().unwrap_or(span));
        let shown = if self.source.hides(place) { "!…" } else { &shown };
        let error = self.source.error(
            place,
            "unknown-tag",
            format!("the tag `{shown}` means nothing here"),
        );
        Err(Box::new(error.help("Remove it, or put the value in quotes if `!` belongs to it.")))
    }

    fn begin(&mut self, anchor: usize, tag: Option<&Tag>, span: Span, map: bool) -> Outcome<()> {
        self.tag(tag, span)?;
        let place = self.place(span);
        if self.open.len() >= DEPTH_MAX {
            return Err(self.too_deep(place));
        }
        self.pending.insert(anchor);
        let (parts, seen) = (Vec::new(), HashMap::new());
        self.open.push(Open { anchor, place, map, parts, seen });
        Ok(())
    }

    fn end(&mut self) -> Outcome<()> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let Open { anchor, place, map, parts, .. } = open;
        self.pending.remove(&anchor);
        let sum = |f: fn(&Node) -> usize| parts.iter().map(f).fold(0, usize::saturating_add);
        let (size, bytes) = (sum(|n| n.size).saturating_add(1), sum(|n| n.bytes));
        let height = 1 + parts.iter().map(|n| n.height).max().unwrap_or_default();
        let place = parts.first().map_or(place, |first| Place { end: first.place.end, ..place });
        let kind = if map { self.map(parts)? } else { Kind::List(parts) };
        let kind = Rc::new(kind);
        self.add(Node { place, anchored: anchor != 0, kind, size, bytes, height }, anchor)
    }

    /// Pairs keys with values, and takes in what `<<` names.
    fn map(&self, parts: Vec<Node>) -> Outcome<Kind> {
        let (mut pairs, mut merges) = (Vec::new(), Vec::new());
        let mut parts = parts.into_iter();
        while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
            match &*key.kind {
                Kind::Text { text, .. } if text == "<<" && self.source.slice(key.place) == "<<" => {
                    merges.push((key.place, value));
                }
                _ => pairs.push((key, value)),
            }
        }
        if merges.is_empty() {
            return Ok(Kind::Map(pairs));
        }
        let name = |key: &Node| match &*key.kind {
            Kind::Text { text, .. } => text.clone(),
            _ => String::new(),
        };
        let mut there: HashSet<String> = pairs.iter().map(|(key, _)| name(key)).collect();
        for (place, value) in merges {
            let maps = match &*value.kind {
                Kind::List(maps) => maps.clone(),
                _ => vec![value],
            };
            for map in &maps {
                let Kind::Map(more) = &*map.kind else {
                    let error =
                        self.source.error(place, "merge", format!("`<<` has {}", map.what()));
                    return Err(Box::new(error.expected("a map, or a list of maps, by its alias")));
                };
                let fresh = more.iter().filter(|(key, _)| there.insert(name(key)));
                pairs.extend(fresh.cloned());
            }
        }
        Ok(Kind::Map(pairs))
    }

    fn alias(&mut self, id: usize, place: Place) -> Outcome<()> {
        if self.pending.contains(&id) {
            let message = "an alias stands inside of the value that it refers to";
            return Err(Box::new(self.source.error(place, "endless-alias", message)));
        }
        let Some(node) = self.anchors.get(&id) else {
            let message = "an alias refers to nothing";
            return Err(Box::new(self.source.error(place, "unknown-anchor", message)));
        };
        let node = Node { anchored: false, ..node.clone() };
        if self.open.len() + node.height > DEPTH_MAX {
            return Err(self.too_deep(place));
        }
        self.count(&node, place)?;
        self.place_in_parent(node)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Outcome<()> {
        // A list or a map has counted its parts already.
        let own = match *node.kind {
            Kind::List(_) | Kind::Map(_) => Node { size: 1, bytes: 0, ..node.clone() },
            _ => node.clone(),
        };
        self.count(&own, node.place)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.place_in_parent(node)
    }

    fn count(&mut self, node: &Node, place: Place) -> Outcome<()> {
        self.size = self.size.saturating_add(node.size);
        self.bytes = self.bytes.saturating_add(node.bytes);
        let (message, hint) = if self.size > NODES_MAX {
            (format!("the file has more than {NODES_MAX} values"), "All aliases written out.")
        } else if self.bytes > EXPANDED_BYTES_MAX {
            let message = format!("the file has more than {EXPANDED_BYTES_MAX} bytes of values");
            (message, "All aliases written out.")
        } else {
            return Ok(());
        };
        Err(Box::new(self.source.error(place, "too-large", message).help(hint)))
    }

    fn place_in_parent(&mut self, node: Node) -> Outcome<()> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        if open.map && open.parts.len().is_multiple_of(2) {
            let text = match &*node.kind {
                Kind::Text { text, .. } => text.clone(),
                // A key `~` or `null` is what it says.
                Kind::Null => self.source.slice(node.place).to_owned(),
                Kind::List(_) | Kind::Map(_) => {
                    let error =
                        self.source.error(node.place, "key", format!("a key is {}", node.what()));
                    let error = error.expected("a text before the colon");
                    return Err(Box::new(
                        error.help("A value that begins with `{` or `[` has to be in quotes."),
                    ));
                }
            };
            if let Some(first) = open.seen.insert(text.clone(), node.place) {
                let shown = super::diagnostic::printable(&text, 60);
                let message = format!("the key `{shown}` is there twice");
                let error = self.source.error(node.place, "duplicate-key", message);
                let error = error.related(first, format!("`{shown}` is here first"));
                return Err(Box::new(
                    error.help("Remove one of them, or put both contents below one."),
                ));
            }
        }
        open.parts.push(node);
        Ok(())
    }

    fn too_deep(&self, place: Place) -> Box<Diagnostic> {
        let message = format!("lists and maps are more than {DEPTH_MAX} deep");
        Box::new(self.source.error(place, "too-deep", message))
    }

    fn place(&self, span: Span) -> Place {
        place(self.source, span.start, span.end)
    }
}

/// What the reader of YAML says about a place, in our terms.
pub(crate) fn place(source: &Source, start: Marker, end: Marker) -> Place {
    let byte = |m: Marker| m.byte_offset().unwrap_or_default().min(source.text().len());
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (start_byte, mut end) = (byte(start), byte(end));
    // Blanks and line ends behind a value are no part of it.
    end -= source.text().get(start_byte..end).map_or(0, |t| t.len() - t.trim_end().len());
    Place {
        start: start_byte,
        end: end.max(start_byte),
        line: number(start.line()),
        column: number(start.col().saturating_add(1)),
    }
}
