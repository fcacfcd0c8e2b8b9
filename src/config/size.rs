//! Sizes in bytes as people write them, in both directions.

/// Units of a size with their bytes.
const SIZE_UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Bytes of a size (`32MiB`, `4KiB`, `1000`); `None` where it is none.
#[must_use]
pub fn size_bytes(text: &str) -> Option<u64> {
    let (number, unit) = leading_digits(text)?;
    let (_, unit_bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.checked_mul(*unit_bytes)
}

/// The largest binary unit that divides `bytes`, such as `32MiB`.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    let unit = SIZE_UNITS[5..].iter().rev().find(|(_, n)| bytes >= *n && bytes.is_multiple_of(*n));
    unit.map_or_else(|| format!("{bytes}B"), |(name, n)| format!("{}{name}", bytes / n))
}

fn leading_digits(text: &str) -> Option<(u64, &str)> {
    let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(len);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text: &str, bytes: Option<u64>| assert_eq!(size_bytes(text), bytes, "{text}");
        check("32MiB", Some(32 << 20));
        check("4 KiB", Some(4096));
        check("1000", Some(1000));
        check("256B", Some(256));
        check("1MB", Some(1_000_000));
        check("1mb", None);
        check("MiB", None);
        check("1.5GiB", None);
        check("99999999999999GiB", None);
        assert_eq!(size_text(32 << 20), "32MiB");
        assert_eq!(size_text(1000), "1000B");
    }
}
