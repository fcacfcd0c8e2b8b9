//! Places of a scalar's characters in the file, so that a place inside an expression can be told.

use super::errors::Place;

/// A line of the file that holds a part of a scalar as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verbatim {
    /// Which character of the scalar the part begins with, counted from 1.
    pub from: usize,
    /// The line in the file, counted from 1.
    pub line: usize,
    /// The column in the file, counted from 1.
    pub column: usize,
}

/// The lines that hold `scalar`, which begins at `start`; none where the file writes it in another way, with escapes or
/// `%{NAME}`. White space may differ: a folded scalar has a space where the file has the end of a line.
pub(super) fn lines_of(scalar: &str, text: &str, start: Place) -> Vec<Verbatim> {
    let opening = text.lines().nth(start.line.saturating_sub(1)).and_then(|line| line.chars().nth(start.column - 1));
    let (mut line, mut column) = match opening {
        Some('|' | '>') => (start.line + 1, 1),
        Some('"' | '\'') => (start.line, start.column + 1),
        _ => (start.line, start.column),
    };
    let mut found: Vec<Verbatim> = Vec::new();
    let mut source = text.lines().skip(line - 1).map(|l| l.chars().collect::<Vec<char>>());
    let mut current = source.next();
    let characters = (1..).zip(scalar.chars()).filter(|(_, c)| !c.is_whitespace());
    for (from, c) in characters {
        loop {
            let Some(characters) = &current else { return Vec::new() };
            match characters.get(column - 1) {
                Some(other) if other.is_whitespace() => column += 1,
                Some(other) if *other == c => break,
                Some(_) => return Vec::new(),
                None => {
                    current = source.next();
                    (line, column) = (line + 1, 1);
                }
            }
        }
        if found.last().is_none_or(|part| part.line != line) {
            found.push(Verbatim { from, line, column });
        }
        column += 1;
    }
    found
}

/// Line and column of a character of the scalar, counted from 1.
pub(super) fn place_of(lines: &[Verbatim], character: usize) -> Option<(usize, usize)> {
    let part = lines.iter().rfind(|part| part.from <= character)?;
    Some((part.line, part.column + character - part.from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, line: usize, column: usize, scalar: &str, character: usize, expected: Option<(usize, usize)>) {
        let lines = lines_of(scalar, text, Place { line, column, len: 1 });
        assert_eq!(place_of(&lines, character), expected, "{text:?}");
    }

    #[test]
    fn places() {
        check("expr: sum(x)", 1, 7, "sum(x)", 5, Some((1, 11)));
        check("expr: \"sum(x)\"", 1, 7, "sum(x)", 5, Some((1, 12)));
        check("expr: |\n  sum(x)\n  + y\n", 1, 7, "sum(x)\n+ y", 10, Some((3, 5)));
        check("expr: >-\n  sum(x)\n  + y\n", 1, 7, "sum(x) + y", 10, Some((3, 5)));
        check("expr: sum(x)\n  + y\n", 1, 7, "sum(x) + y", 8, Some((2, 3)));
        check("expr: \"x{a=\\\"b\\\"}\"", 1, 7, "x{a=\"b\"}", 2, None);
        check("expr: x[%{RANGE}]", 1, 7, "x[5m]", 2, None);
        check("expr: sum(", 1, 7, "sum(x)", 2, None);
    }
}
