//! Reads typed values out of the tree by key, and collects what is wrong.
//!
//! A mapping is read by asking for each key once; [`Map::finish`] reports the keys that nobody asked for.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use super::errors::{Place, Problem};
use super::size;
use super::verbatim::{self, Verbatim};
use super::yaml::{Entry, Node, Value};

/// State that all mappings of one file share.
pub(super) struct Context<'a> {
    /// The whole text, to find the place of an environment variable.
    text: &'a str,
    /// Looks an environment variable up.
    env: &'a dyn Fn(&str) -> Option<String>,
    problems: RefCell<Vec<Problem>>,
    /// Path of every key that was asked for: what the documentation must mention.
    asked: RefCell<Vec<String>>,
}

/// A mapping that is being read.
pub(super) struct Map<'a> {
    context: &'a Context<'a>,
    /// Keys from the top to here, joined by dots and ending with one; empty at the top.
    path: String,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
}

/// A scalar with `%{NAME}` replaced.
pub(super) struct Text {
    pub(super) text: String,
    pub(super) place: Place,
}

impl<'a> Context<'a> {
    pub(super) fn new(text: &'a str, env: &'a dyn Fn(&str) -> Option<String>, problems: Vec<Problem>) -> Self {
        Self { text, env, problems: RefCell::new(problems), asked: RefCell::default() }
    }

    pub(super) fn problem(&self, place: Place, message: String) {
        self.problems.borrow_mut().push(Problem { place: Some(place), message });
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        self.problems.take()
    }

    /// The lines of the file that hold `scalar`, which begins at `start`.
    pub(super) fn lines_of(&self, scalar: &str, start: Place) -> Vec<Verbatim> {
        verbatim::lines_of(scalar, self.text, start)
    }

    #[cfg(test)]
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.take()
    }

    /// The mapping `node`, called `path`; an empty one where there is none, so that every key is asked for regardless.
    pub(super) fn map(&'a self, node: Option<&'a Node>, path: &str) -> Map<'a> {
        let entries: &[Entry] = match node {
            None | Some(Node { value: Value::Null, .. }) => &[],
            Some(Node { value: Value::Map(entries), .. }) => entries,
            Some(Node { place, .. }) => {
                let what = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
                self.problem(*place, format!("{what} must be a mapping: lines of `key: value`"));
                &[]
            }
        };
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        Map { context: self, path, entries, asked: Vec::new() }
    }

    /// The text of `node`, a value of `path`, with environment variables filled in.
    fn scalar(&self, node: &Node, path: &str, expected: &str) -> Option<Text> {
        match &node.value {
            Value::Scalar(text) => Some(Text { text: self.expand(text, node.place)?, place: node.place }),
            Value::Null => {
                self.problem(node.place, format!("`{path}` must be {expected}"));
                None
            }
            Value::List(_) | Value::Map(_) => {
                let hint = "a text that begins with a brace or bracket needs quotes";
                self.problem(node.place, format!("`{path}` must be {expected}; {hint}"));
                None
            }
        }
    }

    /// Replaces `%{NAME}`; `None` after reporting names that are not set. What is no name, such as the selector in
    /// `a %{job="b"}`, stays.
    fn expand(&self, text: &str, node: Place) -> Option<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut complete = true;
        while let Some(start) = rest.find("%{") {
            let (before, from) = rest.split_at(start);
            out.push_str(before);
            let name = from[2..].split('}').next().unwrap_or_default();
            if !is_name(name) || from.len() == name.len() + 2 {
                out.push_str("%{");
                rest = &from[2..];
                continue;
            }
            match (self.env)(name) {
                Some(value) => out.push_str(&value),
                None => {
                    complete = false;
                    let message = format!("the environment variable `{name}` is not set");
                    self.problem(self.place_of(&format!("%{{{name}}}"), node), message);
                }
            }
            rest = &from[name.len() + 3..];
        }
        out.push_str(rest);
        complete.then_some(out)
    }

    /// Finds where `needle` first stands from the beginning of `node` on; the node itself where it can't be found.
    fn place_of(&self, needle: &str, node: Place) -> Place {
        for (i, line) in self.text.lines().enumerate().skip(node.line - 1) {
            let skipped = if i + 1 == node.line { node.column - 1 } else { 0 };
            let tail: String = line.chars().skip(skipped).collect();
            if let Some(byte) = tail.find(needle) {
                let column = skipped + tail[..byte].chars().count() + 1;
                return Place { line: i + 1, column, len: needle.chars().count() };
            }
        }
        node
    }
}

impl<'a> Map<'a> {
    pub(super) fn context(&self) -> &'a Context<'a> {
        self.context
    }

    /// The entry `key`; `None` where the mapping lacks it.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.asked.push(key);
        self.context.asked.borrow_mut().push(format!("{}{key}", self.path));
        self.find(key)
    }

    /// As [`Map::take`], without asking for it: to look at its place.
    pub(super) fn find(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The mapping under `key`, an empty one where there is none.
    pub(super) fn section(&mut self, key: &'static str) -> Map<'a> {
        let node = self.take(key).map(|entry| &entry.value);
        self.context.map(node, &format!("{}{key}", self.path))
    }

    /// The items of the list under `key`; `None` where there is no such key or it is no list.
    pub(super) fn list(&mut self, key: &'static str, expected: &str) -> Option<&'a [Node]> {
        let entry = self.take(key)?;
        if let Value::List(items) = &entry.value.value {
            return Some(items);
        }
        self.context.problem(entry.place, format!("`{}{key}` must be {expected}", self.path));
        None
    }

    /// The list of texts under `key`, without those that are no text.
    pub(super) fn texts(&mut self, key: &'static str, expected: &str) -> Option<Vec<Text>> {
        let path = format!("{}{key}", self.path);
        let items = self.list(key, expected)?;
        Some(items.iter().filter_map(|item| self.context.scalar(item, &path, expected)).collect())
    }

    /// The text under `key`, where `parse` makes something of it; else a problem that says what was `expected`.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let entry = self.take(key)?;
        let path = format!("{}{key}", self.path);
        if matches!(entry.value.value, Value::Null) {
            let message = format!("`{path}` has no value; write {expected}, or leave the line out");
            self.context.problem(entry.place, message);
            return None;
        }
        let found = self.context.scalar(&entry.value, &path, expected)?;
        let value = parse(&found.text);
        if value.is_none() {
            self.context.problem(found.place, format!("`{path}` must be {expected}, not `{}`", found.text));
        }
        value
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, key: &'static str, expected: &str) -> Option<String> {
        self.parsed(key, expected, |text| (!text.is_empty()).then(|| text.to_owned()))
    }

    /// A duration in milliseconds; `example` is one that makes sense.
    pub(super) fn duration(&mut self, key: &'static str, range_ms: RangeInclusive<i64>, example: &str) -> Option<i64> {
        let (from, to) = (super::duration_text(*range_ms.start()), super::duration_text(*range_ms.end()));
        let expected = format!("a duration from {from} to {to}, such as {example}");
        self.parsed(key, &expected, |text| super::duration_ms(text).filter(|ms| range_ms.contains(ms)))
    }

    /// A size in bytes.
    pub(super) fn size(&mut self, key: &'static str, range: RangeInclusive<u64>, example: &str) -> Option<usize> {
        let (from, to) = (size::size_text(*range.start()), size::size_text(*range.end()));
        let expected = format!("a size from {from} to {to}, such as {example}");
        let bytes = self.parsed(key, &expected, |text| size::size_bytes(text).filter(|n| range.contains(n)))?;
        usize::try_from(bytes).ok()
    }

    /// A whole number.
    pub(super) fn whole(&mut self, key: &'static str, range: RangeInclusive<usize>, what: &str) -> Option<usize> {
        let expected = format!("a whole number of {what} from {} to {}", range.start(), range.end());
        self.parsed(key, &expected, |text| text.parse().ok().filter(|n| range.contains(n)))
    }

    /// A number that `fits`.
    pub(super) fn number(&mut self, key: &'static str, expected: &str, fits: impl Fn(f64) -> bool) -> Option<f64> {
        self.parsed(key, expected, |text| text.parse().ok().filter(|n: &f64| n.is_finite() && fits(*n)))
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        for entry in self.entries {
            if self.asked.contains(&entry.key.as_str()) {
                continue;
            }
            let hint = match closest(&entry.key, &self.asked) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            self.context.problem(entry.place, format!("unknown key `{}{}`; {hint}", self.path, entry.key));
        }
    }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`: environment variables, labels and features.
pub(crate) fn is_name(text: &str) -> bool {
    let word = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word && !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// The known key that `key` is most probably a slip of: at most one edit per three characters, and two at least.
fn closest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let best = known.iter().map(|candidate| (strsim::levenshtein(key, candidate), *candidate)).min()?;
    (best.0 <= (key.len() / 3).max(2) && best.0 < best.1.len()).then_some(best.1)
}
