//! A second, slow walk over a message that was decoded: every series with its job and its labels, whether a feature reads it or
//! not. Run for the few bodies that have something nobody has looked at yet.
//!
//! Copies nothing and keeps nothing; what is made of the series is the visitor's.

use super::hash::label_message_hash;
use super::labels::parse_label;
use super::seen::Seen;
use super::wanted::Wanted;
use super::wire::{Reader, WireType};
use crate::series::METRIC_NAME;

/// Most series of a message that are looked at: two blocks of vmagent. A larger one costs no more.
const SERIES_MAX: usize = 20_000;

/// Summary of what one series says of where it comes from and whether it is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesSummary<'a> {
    /// The metric name; not empty, not necessarily UTF-8.
    pub name: &'a [u8],
    /// The value of `job`; empty where it has none.
    pub job: &'a [u8],
    /// Whether some feature reads metrics of this name.
    pub is_read: bool,
    /// Whether it has the identity label.
    pub has_identity: bool,
    /// The names of its labels, in order of arrival, `__name__` among them.
    pub labels: &'a [&'a [u8]],
    /// The same for the same labels in any order, and keyed.
    pub hash: u64,
}

/// When a decoder looks at a body again, and who is told what is in it.
pub struct Look<'l> {
    /// Names that were looked at before; those that are found now are added.
    pub seen: &'l Seen,
    /// Whether to look at a body in which nothing is new, too.
    pub is_due: bool,
    /// Is told of each series.
    pub visit: &'l mut dyn FnMut(&SeriesSummary<'_>),
}

/// Tells `look` of the series of `message`, which was walked without an error. What the walk didn't read may still be malformed;
/// it is left out.
pub(super) fn survey(message: &[u8], wanted: &Wanted, look: &mut Look<'_>) {
    let mut reader = Reader::new(message);
    let (mut n_series, mut labels) = (0, Vec::new());
    while !reader.is_empty() && n_series < SERIES_MAX {
        let Ok((field, wire_type)) = reader.key() else { return };
        if (field, wire_type) != (1, WireType::Bytes) {
            if reader.skip(wire_type).is_err() {
                return;
            }
            continue;
        }
        let Ok(series) = reader.bytes() else { return };
        n_series += 1;
        labels.clear();
        if let Some(summary) = summarise(series, wanted, look.seen, &mut labels) {
            (look.visit)(&SeriesSummary { labels: &labels, ..summary });
        }
    }
}

/// A series without its labels, whose names go into `labels`; `None` where it has no name or is malformed.
fn summarise<'a>(
    series: &'a [u8],
    wanted: &Wanted,
    seen: &Seen,
    labels: &mut Vec<&'a [u8]>,
) -> Option<SeriesSummary<'a>> {
    let (mut name, mut job, mut host, mut hash) = (None, None, None, 0_u64);
    let mut reader = Reader::new(series);
    while !reader.is_empty() {
        let (field, wire_type) = reader.key().ok()?;
        if (field, wire_type) != (1, WireType::Bytes) {
            reader.skip(wire_type).ok()?;
            continue;
        }
        let label = reader.bytes().ok()?;
        let (label_name, value) = parse_label(label).ok()?;
        labels.push(label_name);
        hash = hash.wrapping_add(label_message_hash(label));
        // The first counts, as in the walk.
        if wanted.identity.is(label_name) {
            host.get_or_insert(value);
        }
        if label_name == METRIC_NAME.as_bytes() {
            name.get_or_insert(value);
        } else if label_name == b"job" {
            job.get_or_insert(value);
        }
    }
    let name = name.filter(|name| !name.is_empty())?;
    let has_identity = host.is_some_and(|host| !host.is_empty());
    let (metric, name_hash) = wanted.look_up(name);
    match metric {
        None => seen.add(name_hash),
        Some(_) if !has_identity => seen.add_without_identity(),
        Some(_) => {}
    }
    let is_read = wanted.is_read(metric);
    Some(SeriesSummary { name, job: job.unwrap_or_default(), is_read, has_identity, labels: &[], hash })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::decode::wire::write_field;

    fn label(series: &mut Vec<u8>, name: &str, value: &str) {
        crate::decode::labels::write_entry(series, name, value);
    }

    fn message(all: &[&[(&str, &str)]]) -> Vec<u8> {
        let mut message = Vec::new();
        for labels in all {
            let mut series = Vec::new();
            labels.iter().for_each(|(name, value)| label(&mut series, name, value));
            series.extend([0x12, 2, 0x10, 5]);
            write_field(&mut message, 0x0a, &series);
        }
        message
    }

    fn wanted() -> Wanted {
        Wanted::new(["up", "node_load1"], "instance", 1, &Limits::default()).unwrap().beside_features(0)
    }

    /// Surveys `message`; name, job, whether it is read, whether it has a host, and the labels.
    fn surveyed(message: &[u8], seen: &Seen) -> Vec<String> {
        let mut all = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut visit = |series: &SeriesSummary<'_>| {
            let labels: Vec<String> = series.labels.iter().map(|name| text(name)).collect();
            let read = if series.is_read { "read" } else { "unread" };
            let host = if series.has_identity { "host" } else { "no host" };
            all.push(format!("{} of {}: {read}, {host}, {}", text(series.name), text(series.job), labels.join(" ")));
        };
        survey(message, &wanted(), &mut Look { seen, is_due: true, visit: &mut visit });
        all
    }

    #[test]
    fn every_series_is_told_of() {
        let check = |labels: &[(&str, &str)], expected: &[&str]| {
            assert_eq!(surveyed(&message(&[labels]), &Seen::default()), expected, "{labels:?}");
        };
        check(
            &[("__name__", "node_load1"), ("instance", "a"), ("job", "node")],
            &["node_load1 of node: read, host, __name__ instance job"],
        );
        check(&[("job", "j"), ("host", "a"), ("__name__", "x_y")], &["x_y of j: unread, no host, job host __name__"]);
        check(&[("__name__", "up"), ("instance", "")], &["up of : unread, no host, __name__ instance"]);
        check(&[("instance", "a"), ("job", "node")], &[]);
        check(&[("__name__", ""), ("instance", "a")], &[]);
    }

    #[test]
    fn series_with_the_same_labels_have_one_hash() {
        let hashes = |message: &[u8]| {
            let mut hashes = Vec::new();
            let mut visit = |series: &SeriesSummary<'_>| hashes.push(series.hash);
            survey(message, &wanted(), &mut Look { seen: &Seen::default(), is_due: true, visit: &mut visit });
            hashes
        };
        let a = &[("__name__", "x"), ("cpu", "0")][..];
        let found = hashes(&message(&[a, &[("cpu", "0"), ("__name__", "x")], &[("__name__", "x"), ("cpu", "1")]]));
        assert_eq!((found[0] == found[1], found[0] == found[2]), (true, false));
    }

    #[test]
    fn malformed_insides_are_left_out_and_large_messages_cut_short() {
        let good = message(&[&[("__name__", "x_y"), ("job", "j")]]);
        // A label that is none, a label beyond its series, and half a message.
        let mut bad = Vec::new();
        write_field(&mut bad, 0x0a, &[0x0a, 2, 0x08, 1]);
        write_field(&mut bad, 0x0a, &[0x0a, 9, 1]);
        assert_eq!(surveyed(&[&bad[..], &good, &good[..5]].concat(), &Seen::default()).len(), 1);
        let many = good.repeat(SERIES_MAX + 5);
        assert_eq!(surveyed(&many, &Seen::default()).len(), SERIES_MAX);
    }

    #[test]
    fn what_was_found_is_known() {
        let seen = Seen::default();
        let hash = |name: &str| wanted().look_up(name.as_bytes()).1;
        surveyed(&message(&[&[("__name__", "x_y"), ("job", "j")], &[("__name__", "up"), ("instance", "a")]]), &seen);
        assert!(seen.has(hash("x_y")) && !seen.has(hash("up")) && !seen.has_without_identity());
        surveyed(&message(&[&[("__name__", "up")]]), &seen);
        assert!(seen.has_without_identity());
    }
}
