//! Texts that expressions of the preset share: `$name` stands for the text that the preset gives under `placeholders`.
//!
//! Knows no PromQL: what no placeholder has as its name, such as the language's own `$range`, stays as it is.

use super::yaml::{Node, Value};

/// Placeholders, with those before each already expanded in its text.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Placeholders(Vec<(String, String)>);

impl Placeholders {
    /// Those of a mapping of names and texts; a text may use the names before it.
    pub(super) fn read(node: &Node) -> Self {
        let mut placeholders = Self::default();
        let Value::Map(entries) = &node.value else { return placeholders };
        for entry in entries {
            if let Value::Scalar(text) = &entry.value.value {
                let text = placeholders.expand(text);
                placeholders.0.push((entry.key.clone(), text));
            }
        }
        placeholders
    }

    /// `text` with every placeholder replaced.
    pub(super) fn expand(&self, text: &str) -> String {
        let mut parts = text.split('$');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
            let (name, rest) = part.split_at(end);
            match self.0.iter().find(|(known, _)| known == name) {
                Some((_, text)) => out.push_str(text),
                None => out.extend(["$", name]),
            }
            out.push_str(rest);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_known_are_replaced() {
        let text = "placeholders:\n  a: x|y\n  b: (m{d!~\"$a\"})\n  ab: z";
        let (root, problems) = super::super::yaml::read(text);
        assert!(problems.is_empty());
        let Some(Node { value: Value::Map(entries), .. }) = root else { panic!("{text} is a mapping") };
        let placeholders = Placeholders::read(&entries[0].value);
        let check = |text: &str, expected: &str| assert_eq!(placeholders.expand(text), expected);
        check("sum(up)", "sum(up)");
        check("$a", "x|y");
        check("n{d!~\"$a\"} and $b", "n{d!~\"x|y\"} and (m{d!~\"x|y\"})");
        check("$ab $abc", "z $abc");
        check("rate(n[$range]) $ x$", "rate(n[$range]) $ x$");
    }
}
