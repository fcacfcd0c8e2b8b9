//! The words of an expression with their places.
//!
//! The parser behind gives no places, has no limits and trusts numbers. So everything that is refused whatever stands around
//! it is found before, and what is handed on is of bounded size, with durations that are sound.

use super::Refusal;
use crate::series::Quoted;

/// Longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 16 << 10;

/// Range that the parser, which knows no placeholders, gets for `$range`: longer than any range that may be written.
pub(super) const SCRAPES: &str = "25d";
/// [`SCRAPES`] in milliseconds.
pub(super) const SCRAPES_MS: i64 = 25 * 86_400_000;
/// The name behind the `$` of the placeholder.
pub(super) const RANGE: &str = "range";

/// Brackets within brackets.
const DEPTH_MAX: usize = 50;

/// Operators, signs included: a chain of them is a tree as deep.
const OPERATORS_MAX: usize = 250;

pub(super) const OPERATOR_STARTS: [char; 10] = ['+', '-', '*', '/', '%', '^', '=', '!', '<', '>'];

/// Words after which a bracket opens a list or an operand, not the arguments of a function.
pub(super) const KEYWORDS: [&str; 12] =
    ["by", "without", "on", "ignoring", "group_left", "group_right", "bool", "and", "or", "unless", "atan2", "offset"];

/// Kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, keyword or label.
    Word,
    /// A number or a duration.
    Number,
    /// A string in its quotes.
    Text,
    /// Anything else.
    Symbol,
}

/// A part of an expression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Byte where it begins.
    pub(super) start: usize,
    /// The bracket that it stands in: `(`, `[`, `{`, or a space where in none.
    pub(super) within: char,
}

/// An expression cut into its tokens.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    text: &'a str,
    pub(super) tokens: Vec<Token<'a>>,
}

impl<'a> Tokens<'a> {
    /// Cuts `text`, and refuses what is too long, nested too deep, not closed, or not evaluated wherever it stands.
    pub(super) fn read(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(Refusal::whole(format!("{} bytes long; {EXPRESSION_BYTES_MAX} at most", text.len())));
        }
        let mut this = Self { text, tokens: Vec::new() };
        this.cut()?;
        let operators = |token: &&Token<'_>| token.kind == Kind::Symbol && token.text.starts_with(OPERATOR_STARTS);
        let words = |token: &&Token<'_>| KEYWORDS[7..11].contains(&token.text.to_ascii_lowercase().as_str());
        let outside = this.tokens.iter().filter(|token| token.within != '{');
        let n_operators = outside.filter(|token| operators(token) || words(token)).count();
        if n_operators > OPERATORS_MAX {
            return Err(Refusal::whole(format!("{n_operators} operators; {OPERATORS_MAX} at most: split it")));
        }
        this.check_all()?;
        Ok(this)
    }

    /// The text for the parser: the same, but for raw strings, which it takes for escaped ones, `1_000`, and `$range`.
    pub(super) fn normalized(&self) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut copied = 0;
        for token in &self.tokens {
            let replaced = match token.kind {
                Kind::Text if token.text.starts_with('`') => Quoted(&token.text[1..token.text.len() - 1]).to_string(),
                Kind::Number if is_grouped(token.text) => token.text.replace('_', ""),
                Kind::Symbol if token.within == '[' && token.text == "$" => String::new(),
                Kind::Word if token.within == '[' && token.text == RANGE => SCRAPES.to_owned(),
                _ => continue,
            };
            out.push_str(&self.text[copied..token.start]);
            out.push_str(&replaced);
            copied = token.start + token.text.len();
        }
        out.push_str(&self.text[copied..]);
        out
    }

    /// A refusal at the first token that reads `word`, in any case; of the whole where there is none.
    pub(super) fn refuse_at(&self, word: &str, message: String) -> Refusal {
        let found = self.tokens.iter().find(|token| token.text.eq_ignore_ascii_case(word));
        match found {
            Some(token) => self.refusal(token, message),
            None => Refusal::whole(message),
        }
    }

    pub(super) fn refusal(&self, token: &Token<'_>, message: String) -> Refusal {
        Refusal { character: Some(self.text[..token.start].chars().count() + 1), message }
    }

    fn cut(&mut self) -> Result<(), Refusal> {
        let mut open: Vec<Token<'a>> = Vec::new();
        let mut at = 0;
        while let Some(c) = self.text[at..].chars().next() {
            let rest = &self.text[at..];
            // A bracket that closes stands where the one stands that it closes.
            let depth = if [')', ']', '}'].contains(&c) { open.len().saturating_sub(1) } else { open.len() };
            let within = open[..depth].last().map_or(' ', |token| token.text.chars().next().unwrap_or(' '));
            let (kind, len) = match c {
                c if c.is_whitespace() => {
                    at += c.len_utf8();
                    continue;
                }
                '#' => {
                    at += rest.find(['\n', '\r']).unwrap_or(rest.len());
                    continue;
                }
                '"' | '\'' | '`' => (Kind::Text, string_len(rest, c)),
                '0'..='9' => (Kind::Number, number_len(rest)),
                '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => (Kind::Number, number_len(rest)),
                c if c.is_ascii_alphabetic() || c == '_' || c == ':' && within != '[' => (Kind::Word, word_len(rest)),
                _ => (Kind::Symbol, symbol_len(rest)),
            };
            let len_or_rest = if len == 0 { rest.len() } else { len };
            let token = Token { kind, text: &rest[..len_or_rest], start: at, within };
            self.tokens.push(token);
            if len == 0 {
                return Err(self.refusal(&token, "the string that begins here is not closed".to_owned()));
            }
            match token.text {
                "(" | "[" | "{" => open.push(token),
                ")" | "]" | "}" => {
                    let pair = open.pop().map_or("", |opened| opened.text);
                    if !["()", "[]", "{}"].contains(&format!("{pair}{}", token.text).as_str()) {
                        return Err(self.refusal(&token, format!("`{}` closes nothing", token.text)));
                    }
                }
                _ => {}
            }
            if open.len() > DEPTH_MAX {
                return Err(self.refusal(&token, format!("nested more than {DEPTH_MAX} deep: split it")));
            }
            at += len;
        }
        open.last().map_or(Ok(()), |token| Err(self.refusal(token, format!("`{}` is not closed", token.text))))
    }
}

/// Whether it is a whole number with its digits in groups, such as `1_000`.
fn is_grouped(number: &str) -> bool {
    let is_group = |group: &str| !group.is_empty() && group.chars().all(|c| c.is_ascii_digit());
    number.contains('_') && !number.starts_with('0') && number.split('_').all(is_group)
}

/// Bytes of the string that `text` begins with; 0 where it isn't closed.
fn string_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    0
}

fn word_len(text: &str) -> usize {
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len())
}

fn number_len(text: &str) -> usize {
    let run = |from: usize| {
        let end = text[from..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
        end.map_or(text.len(), |n| from + n)
    };
    let len = run(0);
    let is_decimal = text[..len].trim_end_matches(['e', 'E']).chars().all(|c| c.is_ascii_digit() || c == '.');
    let has_exponent = is_decimal && text[..len].ends_with(['e', 'E']) && text[len..].starts_with(['+', '-']);
    if has_exponent { run(len + 1) } else { len }
}

fn symbol_len(text: &str) -> usize {
    let two = ["==", "!=", ">=", "<=", "=~", "!~"].iter().any(|symbol| text.starts_with(symbol));
    if two { 2 } else { text.chars().next().map_or(1, char::len_utf8) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parser_cannot_read_is_written_for_it() {
        let check = |text: &str, expected: &str| assert_eq!(Tokens::read(text).unwrap().normalized(), expected);
        check("rate(x[ $range ])", "rate(x[ 25d ])");
        check(r#"x{a=~`e\d"`, b="c\\d"}"#, r#"x{a=~"e\\d\"", b="c\\d"}"#);
        check("x # `\n+ 1", "x # `\n+ 1");
        check("1_000 + x_1[1m]", "1000 + x_1[1m]");
    }
}
