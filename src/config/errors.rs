//! Problems of a configuration file, each with its place: `file:line:column: message` and the line itself.

use std::fmt;

/// Longest part of a source line that a message shows, in characters.
const SNIPPET_CHARS: usize = 100;

/// A place in the text; lines, columns and lengths in characters, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column of the first character.
    pub column: usize,
    /// Number of characters of that line that are meant; at least 1.
    pub len: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Place of the problem; `None` where the file as a whole is meant, such as one that can't be read.
    pub place: Option<Place>,
    /// Description of what is wrong and what to write instead.
    pub message: String,
}

/// Everything that is wrong with one file, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    file: String,
    text: String,
    problems: Vec<Problem>,
}

impl ConfigErrors {
    /// `problems` of the file called `file` with the content `text`.
    #[must_use]
    pub fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|p| p.place);
        Self { file: file.to_owned(), text: text.to_owned(), problems }
    }

    /// Returns what is wrong, in the order of the file's lines.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    /// One paragraph per problem, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            let (file, message) = (&self.file, &problem.message);
            let Some(place) = problem.place else {
                write!(f, "{separator}{file}: {message}")?;
                continue;
            };
            write!(f, "{separator}{file}:{}:{}: {message}", place.line, place.column)?;
            if let Some(line) = self.text.lines().nth(place.line.saturating_sub(1)) {
                write!(f, "\n{}", snippet(line, place))?;
            }
        }
        Ok(())
    }
}

/// The line with its number, and carets under the place; a long line is cut around it.
fn snippet(line: &str, place: Place) -> String {
    let chars: Vec<char> = line.chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    let at = place.column.saturating_sub(1).min(chars.len());
    let from = if chars.len() <= SNIPPET_CHARS || at < SNIPPET_CHARS / 2 { 0 } else { at - SNIPPET_CHARS / 2 };
    let to = chars.len().min(from + SNIPPET_CHARS);
    let before = if from > 0 { "…" } else { "" };
    let after = if to < chars.len() { "…" } else { "" };
    let shown: String = chars[from..to].iter().collect();
    let carets = place.len.clamp(1, (to - at).max(1));
    let number = place.line.to_string();
    let indent = at - from + before.chars().count();
    format!(
        "  {number} | {before}{shown}{after}\n  {:width$} | {:indent$}{}",
        "",
        "",
        "^".repeat(carets),
        width = number.len(),
    )
}
