//! Labels of a series: the entries on the wire, and their validation.
//!
//! Decode itself looks only at lengths, the name and the host; [`parse_labels`] is for who meets a series for the first time.

use super::error::Malformed;
use super::wire::{Reader, WireType, write_field};
use crate::config::Limits;

/// Limits that a kept series' labels are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelLimits {
    /// Labels of a series.
    pub labels_per_series: usize,
    /// Bytes of a label's name.
    pub name_bytes: usize,
    /// Bytes of a label's value.
    pub value_bytes: usize,
}

impl From<&Limits> for LabelLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            labels_per_series: limits.labels_per_series,
            name_bytes: limits.label_name_bytes,
            value_bytes: limits.label_value_bytes,
        }
    }
}

/// Why a series is skipped while the rest of its body is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidSeries {
    /// No `__name__`, or an empty one.
    NoName,
    /// No identity label, or an empty one.
    NoIdentity,
    /// More than `limits.labels_per_series`.
    TooManyLabels,
    /// A name over `limits.label_name_bytes` or a value over `limits.label_value_bytes`.
    LabelTooLong,
    /// The host, or any label of a new series.
    InvalidUtf8,
    /// Two labels have one name.
    DuplicateLabel,
    /// A label without a name.
    EmptyLabelName,
}

impl InvalidSeries {
    /// Every reason; its position is `reason as usize`.
    pub const ALL: [Self; 7] = [
        Self::NoName,
        Self::NoIdentity,
        Self::TooManyLabels,
        Self::LabelTooLong,
        Self::InvalidUtf8,
        Self::DuplicateLabel,
        Self::EmptyLabelName,
    ];

    /// The value of the label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoName => "no_name",
            Self::NoIdentity => "no_identity",
            Self::TooManyLabels => "too_many_labels",
            Self::LabelTooLong => "label_too_long",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::DuplicateLabel => "duplicate_label",
            Self::EmptyLabelName => "empty_label_name",
        }
    }
}

impl LabelLimits {
    /// Holds the label number `index` (from 0) of a series to the limits, without looking at its bytes.
    #[inline]
    pub(super) fn check(&self, index: usize, name: &[u8], value: &[u8]) -> Result<(), InvalidSeries> {
        if index >= self.labels_per_series {
            return Err(InvalidSeries::TooManyLabels);
        }
        if name.is_empty() {
            return Err(InvalidSeries::EmptyLabelName);
        }
        if name.len() > self.name_bytes || value.len() > self.value_bytes {
            return Err(InvalidSeries::LabelTooLong);
        }
        Ok(())
    }
}

/// Name and value of a `Label` message; absent fields are empty, of repeated ones the last counts.
#[inline]
pub(super) fn parse_label(label: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    // The form that every sender writes: both fields, in order, each under 128 bytes.
    if let [0x0a, n @ 0..=0x7f, rest @ ..] = label
        && let Some((name, [0x12, v @ 0..=0x7f, value @ ..])) = rest.split_at_checked(usize::from(*n))
        && value.len() == usize::from(*v)
    {
        return Ok((name, value));
    }
    parse_any_label(label)
}

#[cold]
fn parse_any_label(label: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut name, mut value) = (&[][..], &[][..]);
    let mut reader = Reader::new(label);
    while !reader.is_empty() {
        match reader.key()? {
            (1, WireType::Bytes) => name = reader.bytes()?,
            (2, WireType::Bytes) => value = reader.bytes()?,
            (1 | 2, _) => return Err(Malformed::FieldType),
            (_, wire_type) => reader.skip(wire_type)?,
        }
    }
    Ok((name, value))
}

/// Reads and validates the label entries of a batch's series, those of its tail too, into `labels` (cleared first), sorted by name. Labels with an empty
/// value are left out: to Prometheus they are absent.
///
/// # Errors
/// Returns what makes the series invalid; `labels` is then empty. Entries that are not protobuf (which decode never hands out)
/// count as invalid UTF-8.
pub fn parse_labels<'a>(
    entries: [&'a [u8]; 2],
    limits: LabelLimits,
    labels: &mut Vec<(&'a str, &'a str)>,
) -> Result<(), InvalidSeries> {
    labels.clear();
    let parsed = parse_all(entries, limits, labels);
    if parsed.is_err() {
        labels.clear();
    }
    parsed
}

fn parse_all<'a>(
    entries: [&'a [u8]; 2],
    limits: LabelLimits,
    labels: &mut Vec<(&'a str, &'a str)>,
) -> Result<(), InvalidSeries> {
    for mut reader in entries.map(Reader::new) {
        while !reader.is_empty() {
            let (name, value) = next_label(&mut reader).map_err(|_| InvalidSeries::InvalidUtf8)?;
            limits.check(labels.len(), name, value)?;
            let name = str::from_utf8(name).map_err(|_| InvalidSeries::InvalidUtf8)?;
            let value = str::from_utf8(value).map_err(|_| InvalidSeries::InvalidUtf8)?;
            labels.push((name, value));
        }
    }
    labels.sort_unstable();
    if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(InvalidSeries::DuplicateLabel);
    }
    labels.retain(|(_, value)| !value.is_empty());
    Ok(())
}

fn next_label<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], &'a [u8]), Malformed> {
    match reader.key()? {
        (1, WireType::Bytes) => parse_label(reader.bytes()?),
        _ => Err(Malformed::FieldType),
    }
}

/// Appends a label as a field-1 entry of `TimeSeries`.
pub(super) fn write_entry(entries: &mut Vec<u8>, name: &str, value: &str) {
    let mut label = Vec::with_capacity(name.len() + value.len() + 8);
    write_field(&mut label, 0x0a, name.as_bytes());
    write_field(&mut label, 0x12, value.as_bytes());
    write_field(entries, 0x0a, &label);
}
