//! The words of an expression with their places, and what can be refused by looking at them alone.
//!
//! The parser behind gives no places, has no limits and trusts numbers. So everything that is refused whatever stands around
//! it is found here, and what is handed on is of bounded size, with durations that are sound.

use super::Refusal;
use crate::expr::vocabulary::{self as words, Function, Grouped};
use crate::series::METRIC_NAME;

/// Longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 16 << 10;

/// Brackets within brackets.
const DEPTH_MAX: usize = 50;

/// Operators, signs included: a chain of them is a tree as deep.
const OPERATORS_MAX: usize = 250;

/// Longest range or offset: ten years.
const DURATION_MS_MAX: u64 = 10 * 365 * 86_400_000;

const OPERATOR_STARTS: [char; 10] = ['+', '-', '*', '/', '%', '^', '=', '!', '<', '>'];

/// Words after which a bracket opens a list or an operand, not the arguments of a function.
const KEYWORDS: [&str; 12] =
    ["by", "without", "on", "ignoring", "group_left", "group_right", "bool", "and", "or", "unless", "atan2", "offset"];

const FILL_KEYWORDS: [&str; 3] = ["fill", "fill_left", "fill_right"];

/// What a token is.
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
    within: char,
}

/// An expression cut into its tokens.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
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
        (0..this.tokens.len()).try_for_each(|i| this.check(i))?;
        Ok(this)
    }

    /// The text for the parser: the same, but for raw strings, which it takes for escaped ones, and `1_000`.
    pub(super) fn normalized(&self) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut copied = 0;
        for token in &self.tokens {
            let replaced = match token.kind {
                Kind::Text if token.text.starts_with('`') => escaped(&token.text[1..token.text.len() - 1]),
                Kind::Number if is_grouped(token.text) => token.text.replace('_', ""),
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

    /// Where the parser has probably stopped: two operands in a row, or an operator without one.
    pub(super) fn refuse_syntax(&self, message: String) -> Refusal {
        let is_keyword = |token: &Token<'_>| KEYWORDS.contains(&token.text.to_ascii_lowercase().as_str());
        let is_operand = |token: &Token<'_>| token.kind != Kind::Symbol && !is_keyword(token);
        let is_operator = |token: &Token<'_>| token.kind == Kind::Symbol && token.text.starts_with(OPERATOR_STARTS);
        // Whether what stands before is an operand: a bracket is one unless it holds the labels of `by` or `on`.
        let (mut after_operand, mut after_operator, mut opened) = (false, false, Vec::new());
        let mut before_is_keyword = false;
        for token in self.tokens.iter().filter(|token| !['{', '['].contains(&token.within)) {
            let lacks_operand =
                after_operator && (is_operator(token) && !"+-".contains(token.text) || ")],".contains(token.text));
            if after_operand && is_operand(token) || lacks_operand {
                return self.refusal(token, message);
            }
            if token.text == "(" {
                opened.push(before_is_keyword);
            }
            let holds_labels = token.text == ")" && opened.pop().unwrap_or(false);
            after_operand = is_operand(token) || [")", "]", "}"].contains(&token.text) && !holds_labels;
            after_operator = is_operator(token);
            before_is_keyword = is_keyword(token);
        }
        match self.tokens.last() {
            Some(last) if after_operator => self.refusal(last, message),
            _ => Refusal::whole(message),
        }
    }

    fn refusal(&self, token: &Token<'_>, message: String) -> Refusal {
        Refusal { character: Some(self.text[..token.start].chars().count() + 1), message }
    }

    fn refuse(&self, i: usize, what: &str, why: &str) -> Result<(), Refusal> {
        Err(self.refusal(&self.tokens[i], format!("`{what}` is not evaluated: {why}")))
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

    /// Refuses what begins at token `i`, where that is refused wherever it stands.
    fn check(&self, i: usize) -> Result<(), Refusal> {
        let token = &self.tokens[i];
        match (token.within, token.kind) {
            ('{', Kind::Word) if token.text == "or" => {
                let next = self.tokens.get(i + 1).map_or("", |next| next.text);
                if !["=", "!=", "=~", "!~", "!"].contains(&next) {
                    let why = "between matchers it is MetricsQL: write a regular expression";
                    return self.refuse(i, "or", why);
                }
                Ok(())
            }
            ('{', _) => Ok(()),
            ('[', _) => self.check_range(i),
            (_, Kind::Word) => self.check_word(i),
            (_, Kind::Number) => self.check_number(i),
            (_, Kind::Symbol) => match token.text {
                "@" => self.refuse(i, "@", words::AT),
                "$" => {
                    let message = "`$`: Grafana variables are not expanded: write the value, such as [2m]";
                    Err(self.refusal(token, message.to_owned()))
                }
                _ => Ok(()),
            },
            (_, Kind::Text) => Ok(()),
        }
    }

    /// Inside `[…]`: one duration, and nothing else.
    fn check_range(&self, i: usize) -> Result<(), Refusal> {
        let token = &self.tokens[i];
        match (token.kind, token.text) {
            (Kind::Symbol, ":") => {
                let open = self.tokens[..i].iter().rposition(|t| t.text == "[").unwrap_or(i);
                self.refuse(open, "[…:…]", words::SUBQUERY)
            }
            (Kind::Symbol, "$") => {
                let message = "Grafana variables are not expanded: write the range out, such as [2m]";
                Err(self.refusal(token, message.to_owned()))
            }
            (Kind::Number, text) => match duration_ms(text) {
                Some(1..=DURATION_MS_MAX) => Ok(()),
                _ => Err(self.refusal(token, no_duration(text))),
            },
            (_, text) => self.refuse(i, text, words::COMPUTED),
        }
    }

    fn check_word(&self, i: usize) -> Result<(), Refusal> {
        let token = &self.tokens[i];
        let lower = token.text.to_ascii_lowercase();
        let next = self.tokens.get(i + 1).map_or("", |next| next.text);
        let after_operand = i > 0 && {
            let before = &self.tokens[i - 1];
            let is_name = before.kind == Kind::Word && !KEYWORDS.contains(&before.text.to_ascii_lowercase().as_str());
            [")", "]", "}"].contains(&before.text) || is_name && before.within == token.within
        };
        if lower == "offset" && after_operand {
            return self.check_offset(i);
        }
        if ["anchored", "smoothed"].contains(&lower.as_str()) && after_operand {
            return self.refuse(i, &lower, words::MODIFIER_EXPERIMENTAL);
        }
        if token.text == METRIC_NAME && token.within == '(' {
            return self.refuse(
                i,
                METRIC_NAME,
                "grouping and matching leave the name out: use one selector per metric",
            );
        }
        let is_aggregate = next == "(" || ["by", "without"].contains(&next.to_ascii_lowercase().as_str());
        if let Some(Grouped::Refused(why)) = words::aggregation(&lower).filter(|_| is_aggregate) {
            return self.refuse(i, &lower, why);
        }
        if next != "(" || KEYWORDS.contains(&lower.as_str()) || words::aggregation(&lower).is_some() {
            return Ok(());
        }
        if FILL_KEYWORDS.contains(&lower.as_str()) {
            return self.refuse(i, &lower, words::FILL);
        }
        match words::function(token.text) {
            Some(Function::Refused(why)) => self.refuse(i, &format!("{}()", token.text), why),
            Some(_) => Ok(()),
            None if i > 0 && KEYWORDS[..6].contains(&self.tokens[i - 1].text.to_ascii_lowercase().as_str()) => {
                let keyword = &self.tokens[i - 1];
                let message = format!("`{}` needs its labels in brackets: ({})", keyword.text, token.text);
                Err(self.refusal(keyword, message))
            }
            None => {
                let hint = match words::function(&lower) {
                    Some(_) => format!("write {lower}()"),
                    None => "docs/promql.md lists what is evaluated; functions of MetricsQL are not".to_owned(),
                };
                Err(self.refusal(token, format!("`{}()` is no function of PromQL: {hint}", token.text)))
            }
        }
    }

    fn check_offset(&self, i: usize) -> Result<(), Refusal> {
        let next = |n: usize| self.tokens.get(i + n);
        match next(1).map(|token| token.text) {
            Some("-") => self.refuse(i, "offset -…", words::FUTURE),
            Some("$") => self.check(i + 1),
            sign => {
                let Some(duration) = next(if sign == Some("+") { 2 } else { 1 }) else { return Ok(()) };
                if duration.kind != Kind::Number {
                    return self.refuse(i, &format!("offset {}", duration.text), words::COMPUTED);
                }
                match duration_ms(duration.text) {
                    Some(0..=DURATION_MS_MAX) => Ok(()),
                    _ => Err(self.refusal(duration, no_duration(duration.text))),
                }
            }
        }
    }

    /// A number outside of brackets: a duration counts as its seconds, so it must be one that fits.
    fn check_number(&self, i: usize) -> Result<(), Refusal> {
        let token = &self.tokens[i];
        let hexadecimal = token.text.starts_with("0x") || token.text.starts_with("0X");
        let is_duration = !hexadecimal && token.text.contains(|c: char| "smhdwy".contains(c));
        if is_duration && !matches!(duration_ms(token.text), Some(1..=DURATION_MS_MAX)) {
            return Err(self.refusal(token, no_duration(token.text)));
        }
        Ok(())
    }
}

/// `raw` as a string in quotes.
fn escaped(raw: &str) -> String {
    let mut out = String::from('"');
    for c in raw.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether it is a whole number with its digits in groups, such as `1_000`.
fn is_grouped(number: &str) -> bool {
    let is_group = |group: &str| !group.is_empty() && group.chars().all(|c| c.is_ascii_digit());
    number.contains('_') && !number.starts_with('0') && number.split('_').all(is_group)
}

fn no_duration(text: &str) -> String {
    format!("`{text}` is no duration from 1ms to 10y, such as 5m or 1h30m")
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

/// Milliseconds of `1h30m` or of a number of seconds; `None` where it is neither.
fn duration_ms(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = seconds * 1_000.0;
        return (ms.is_finite() && ms >= 0.0 && ms < u64::MAX as f64).then_some(ms as u64);
    }
    let (mut total, mut rest, mut units) = (0u64, text, &UNITS[..]);
    while !rest.is_empty() {
        let n_digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let unit_len = rest[n_digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - n_digits);
        let (number, unit) = (&rest[..n_digits], &rest[n_digits..n_digits + unit_len]);
        let position = units.iter().position(|(name, _)| *name == unit)?;
        // Larger numbers are taken for 0 by the parser.
        let number = u64::from(number.parse::<u32>().ok()?);
        total = total.checked_add(number.checked_mul(units[position].1)?)?;
        units = &units[position + 1..];
        rest = &rest[n_digits + unit_len..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(duration_ms(text), expected, "{text}");
        check("5m", Some(300_000));
        check("1h30m", Some(5_400_000));
        check("1w2d3h4m5s6ms", Some(604_800_000 + 2 * 86_400_000 + 3 * 3_600_000 + 4 * 60_000 + 5_006));
        check("300", Some(300_000));
        check("0.5", Some(500));
        check("30m1h", None);
        check("5x", None);
        check("5", Some(5_000));
        check("99999999999s", None);
        check("1e300", None);
    }

    #[test]
    fn what_the_parser_cannot_read_is_written_for_it() {
        let check = |text: &str, expected: &str| assert_eq!(Tokens::read(text).unwrap().normalized(), expected);
        check(r#"x{a=~`e\d"`, b="c\\d"}"#, r#"x{a=~"e\\d\"", b="c\\d"}"#);
        check("x # `\n+ 1", "x # `\n+ 1");
        check("1_000 + x_1[1m]", "1000 + x_1[1m]");
    }
}
