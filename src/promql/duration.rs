//! Durations as Prometheus writes them, in both directions.

/// Units of a duration in the order in which they must stand, with their milliseconds.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Milliseconds of a duration as Prometheus writes it (`30s`, `1h30m`, `500ms`, `0`); `None` where it is none.
#[must_use]
pub fn duration_ms(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0_i64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let unit_len = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let (_, unit_ms) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(*unit_ms)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// The shortest way to write `ms`, such as `1h30m`; negative durations do not occur.
#[must_use]
pub fn duration_text(ms: i64) -> String {
    let mut rest = ms.max(0);
    let mut text = String::new();
    // Prometheus has years and weeks too, but 30d reads better than 4w2d.
    for (unit, unit_ms) in &UNITS[2..] {
        if rest >= *unit_ms {
            text.push_str(&format!("{}{unit}", rest / unit_ms));
            rest %= unit_ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A duration for people: its two largest units, seconds at least, such as `2h10m`; negative durations do not occur.
#[must_use]
pub fn duration_short(ms: i64) -> String {
    let units = &UNITS[2..6];
    let largest = units.iter().position(|(_, unit_ms)| ms >= *unit_ms).unwrap_or(units.len() - 1);
    let (_, least_ms) = units[(largest + 1).min(units.len() - 1)];
    duration_text(ms / least_ms * least_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, ms: Option<i64>| assert_eq!(duration_ms(text), ms, "{text}");
        check("30s", Some(30_000));
        check("5m", Some(300_000));
        check("1h30m", Some(5_400_000));
        check("1w2d3h4m5s6ms", Some(788_645_006));
        check("500ms", Some(500));
        check("1m500ms", Some(60_500));
        check("2w", Some(1_209_600_000));
        check("1y", Some(31_536_000_000));
        check("0", Some(0));
        check("0s", Some(0));
        check("", None);
        check("30", None);
        check("s", None);
        check("5 m", None);
        check("1.5h", None);
        check("-5m", None);
        check("30m1h", None);
        check("1h1h", None);
        check("1d ", None);
        check("99999999999999999999s", None);
        check("9999999999999y", None);
    }

    #[test]
    fn two_units_are_enough_for_people() {
        let check = |ms: i64, text: &str| assert_eq!(duration_short(ms), text, "{ms}");
        check(0, "0s");
        check(999, "0s");
        check(3_500, "3s");
        check(598_900, "9m58s");
        check(7_805_000, "2h10m");
        check(3_600_000, "1h");
        check(3_601_000, "1h");
        check(90_061_000, "1d1h");
        check(-5, "0s");
    }

    #[test]
    fn texts_are_short_and_read_back() {
        let check = |ms: i64, text: &str| {
            assert_eq!(duration_text(ms), text);
            assert_eq!(duration_ms(text), Some(ms));
        };
        check(0, "0s");
        check(5_400_000, "1h30m");
        check(30 * 86_400_000, "30d");
        check(61_001, "1m1s1ms");
    }
}
