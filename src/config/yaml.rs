//! YAML text → a tree whose every key and value knows its place.
//!
//! Knows nothing of the configuration's keys. Scalars stay text: the key decides what a value means, so `no` is never a
//! boolean by accident. Duplicate keys, anchors, tags and second documents are problems, all of them reported.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::errors::{Place, Problem};

/// Levels of nesting; the configuration needs three.
const DEPTH_MAX: usize = 16;

/// A value with its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// Value of a node.
#[derive(Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Anything that is neither list nor mapping, without its quotes.
    Scalar(String),
    /// `- a` or `[a]`.
    List(Vec<Node>),
    /// `key: value` or `{key: value}`, in the order of the file; keys are unique.
    Map(Vec<Entry>),
}

/// One `key: value`.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Place of the key.
    pub(super) place: Place,
    pub(super) value: Node,
}

/// The one document of `text` and what is wrong with it. `None` where nothing could be read: an empty file (without a
/// problem), or broken YAML.
pub(super) fn read(text: &str) -> (Option<Node>, Vec<Problem>) {
    let mut builder = Builder { parser: Parser::new_from_str(text), problems: Vec::new() };
    match builder.document() {
        Ok(node) => (node, builder.problems),
        Err(problem) => {
            builder.problems.push(problem);
            (None, builder.problems)
        }
    }
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Option<Node>, Problem> {
        let mut document = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                _ if document.is_some() => {
                    let message = "a second document; put everything into one, without `---`";
                    self.problem(place(span), message.to_owned());
                    break;
                }
                _ => document = Some(self.node(event, span, 0)?),
            }
        }
        Ok(document)
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Problem> {
        self.parser.next_event().transpose().map_err(|error| broken(&error))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Problem> {
        let mut at = place(span);
        if depth > DEPTH_MAX {
            let message = format!("nested more than {DEPTH_MAX} levels deep");
            return Err(Problem { place: Some(at), message });
        }
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse(at, anchor, tag.is_some());
                match (style, text.as_ref()) {
                    (ScalarStyle::Plain, "" | "~" | "null") => Value::Null,
                    _ => Value::Scalar(text.into_owned()),
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse(at, anchor, tag.is_some());
                at.len = 1;
                Value::List(self.list(depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse(at, anchor, tag.is_some());
                at.len = 1;
                Value::Map(self.map(depth)?)
            }
            _ => {
                self.problem(at, "aliases (`*name`) are not read here; write the value again".to_owned());
                Value::Null
            }
        };
        Ok(Node { place: at, value })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Problem> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(event, span, depth + 1)?);
        }
        Ok(items)
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, span, depth + 1)?;
            let Some((event, span)) = self.next()? else { break };
            let value = self.node(event, span, depth + 1)?;
            let Value::Scalar(name) = key.value else {
                self.problem(key.place, "a key must be a word".to_owned());
                continue;
            };
            match entries.iter().find(|e| e.key == name).map(|e| e.place.line) {
                Some(line) => {
                    let message = format!("`{name}` is given twice, first in line {line}; keep one of them");
                    self.problem(key.place, message);
                }
                None => entries.push(Entry { key: name, place: key.place, value }),
            }
        }
        Ok(entries)
    }

    fn refuse(&mut self, place: Place, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.problem(place, "anchors (`&name`) are not read here; write the value where it is meant".to_owned());
        }
        if tagged {
            self.problem(place, "tags (`!name`) are not read here; leave it out".to_owned());
        }
    }

    fn problem(&mut self, place: Place, message: String) {
        self.problems.push(Problem { place: Some(place), message });
    }
}

fn place(span: Span) -> Place {
    let len = if span.start.line() == span.end.line() { span.end.col().saturating_sub(span.start.col()) } else { 1 };
    Place { line: span.start.line(), column: span.start.col() + 1, len: len.max(1) }
}

fn broken(error: &ScanError) -> Problem {
    let mark = error.marker();
    let place = Place { line: mark.line(), column: mark.col() + 1, len: 1 };
    let hint = match error.info() {
        info if info.starts_with("mapping values") => {
            "; check the indentation, and put quotes around a value with `: ` in it"
        }
        _ => "",
    };
    Problem { place: Some(place), message: format!("not valid YAML: {}{hint}", error.info()) }
}
