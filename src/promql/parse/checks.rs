//! Refusals by the tokens alone, whatever stands around them; and the place of a syntax error.

use super::Refusal;
use super::tokens::{KEYWORDS, Kind, OPERATOR_STARTS, RANGE, Token, Tokens};
use crate::promql::duration::duration_ms;
use crate::promql::vocabulary::{self as words, Function, Grouped};
use crate::series::METRIC_NAME;

/// Longest range or offset: 24 days. What they read is held in memory, and with both the engine tells ages up to 49 days.
const DURATION_MS_MAX: i64 = 24 * 86_400_000;

const FILL_KEYWORDS: [&str; 3] = ["fill", "fill_left", "fill_right"];

impl Tokens<'_> {
    /// Refuses what is not evaluated wherever it stands.
    pub(super) fn check_all(&self) -> Result<(), Refusal> {
        (0..self.tokens.len()).try_for_each(|i| self.check(i))
    }

    /// Refuses with `message` where the parser has probably stopped: two operands in a row, or an operator without one.
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

    fn refuse(&self, i: usize, what: &str, why: &str) -> Result<(), Refusal> {
        Err(self.refusal(&self.tokens[i], format!("`{what}` is not evaluated: {why}")))
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
                    let message = "`$`: Grafana variables are not expanded: write the value, such as 5m";
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
            (Kind::Symbol, "$") if self.is_range_placeholder(i) => Ok(()),
            (Kind::Symbol, "$") => {
                let message = "Grafana variables are not expanded: write [$range], which is four scrape intervals and at \
                               least 2m, or a range such as [5m]";
                Err(self.refusal(token, message.to_owned()))
            }
            (Kind::Word, RANGE) if i > 0 && self.is_range_placeholder(i - 1) => Ok(()),
            (Kind::Number, text) => match milliseconds(text) {
                Some(1..=DURATION_MS_MAX) => Ok(()),
                _ => Err(self.refusal(token, no_duration(text))),
            },
            (_, text) => self.refuse(i, text, words::COMPUTED),
        }
    }

    /// Whether token `i` begins `[$range]`, written together.
    fn is_range_placeholder(&self, i: usize) -> bool {
        let text = |i: usize| self.tokens.get(i).map_or("", |token| token.text);
        let is_together = self.tokens.get(i + 1).is_some_and(|name| name.start == self.tokens[i].start + 1);
        i > 0 && text(i - 1) == "[" && text(i) == "$" && text(i + 1) == RANGE && text(i + 2) == "]" && is_together
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
                match milliseconds(duration.text) {
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
        if is_duration && !matches!(milliseconds(token.text), Some(1..=DURATION_MS_MAX)) {
            return Err(self.refusal(token, no_duration(token.text)));
        }
        Ok(())
    }
}

fn no_duration(text: &str) -> String {
    format!("`{text}` is no duration from 1ms to 24d, such as 5m or 1h30m")
}

/// Milliseconds of `1h30m` or of a number of seconds; `None` where it is neither.
fn milliseconds(text: &str) -> Option<i64> {
    let Ok(seconds) = text.parse::<f64>() else { return duration_ms(text) };
    let ms = seconds * 1_000.0;
    (ms >= 0.0 && ms < i64::MAX as f64).then_some(ms as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(milliseconds(text), expected, "{text}");
        check("1h30m", Some(5_400_000));
        check("300", Some(300_000));
        check("0.5", Some(500));
        check("5x", None);
        check("1e300", None);
    }
}
