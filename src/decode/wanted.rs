//! Series that a process wants from remote write: metric names, the identity label, limits; and which shard a host belongs to.
//!
//! Built once per configuration and shared; immutable.

use std::hash::Hasher;

use anyhow::ensure;
use foldhash::SharedSeed;

use super::batch::MetricId;
use super::labels::LabelLimits;
use crate::config::Limits;
use crate::series::METRIC_NAME;

/// The metric of a series whose name nobody listed; occurs only with [`Wanted::all_names`].
pub const UNLISTED: MetricId = MetricId::MAX;

/// Which series decode keeps and what it holds them to.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The listed metric names.
    names: Names,
    /// Whether series with other names are kept too, as [`UNLISTED`].
    all_names: bool,
    /// The listed metric that no feature reads.
    beside_features: Option<MetricId>,
    /// Name of the label whose values are the hosts; neither empty nor `__name__`.
    pub(super) identity: LabelName,
    /// Into how many batches a body is split; at least 1.
    pub(super) shards: usize,
    /// Bytes of a body, compressed and decompressed each.
    pub(super) body_bytes: usize,
    /// Limits that a kept series' labels are held to.
    pub(super) labels: LabelLimits,
}

impl Wanted {
    /// Wants the series with one of `names` (whose [`MetricId`]s are their positions) and a label `identity_label`.
    ///
    /// # Errors
    /// On 65,535 or more names, on an identity label that cannot be one, on no shards and on a `body_bytes` of 4 GiB or more.
    pub fn new<'a>(
        names: impl IntoIterator<Item = &'a str>,
        identity_label: &str,
        shards: usize,
        limits: &Limits,
    ) -> anyhow::Result<Self> {
        ensure!(!identity_label.is_empty(), "the identity label must have a name: set identity.label");
        ensure!(
            identity_label != METRIC_NAME,
            "identity.label cannot be {METRIC_NAME}: name a label that tells hosts apart"
        );
        ensure!((1..=usize::from(u16::MAX)).contains(&shards), "threads.shards must be 1 to {}", u16::MAX);
        ensure!(u32::try_from(limits.body_bytes).is_ok(), "limits.body must be under 4 GiB");
        Ok(Self {
            names: Names::new(names)?,
            all_names: false,
            beside_features: None,
            identity: LabelName::new(identity_label),
            shards,
            body_bytes: limits.body_bytes,
            labels: LabelLimits::from(limits),
        })
    }

    /// Wants every metric name, for plans that select by a pattern or by other labels alone.
    #[must_use]
    pub fn all_names(self) -> Self {
        Self { all_names: true, ..self }
    }

    /// Keeps `metric` for another purpose than a feature's: `up`, which says whether a target is down.
    #[must_use]
    pub fn beside_features(self, metric: MetricId) -> Self {
        Self { beside_features: Some(metric), ..self }
    }

    /// The metric that `name` is; `None` where it isn't wanted.
    #[inline]
    #[must_use]
    pub fn metric(&self, name: &[u8]) -> Option<MetricId> {
        self.look_up(name).0
    }

    /// The same, and the hash of the name, which is fixed.
    #[inline]
    pub(super) fn look_up(&self, name: &[u8]) -> (Option<MetricId>, u64) {
        let hash = hash_name(name);
        (self.names.find(name, hash).or(if self.all_names { Some(UNLISTED) } else { None }), hash)
    }

    /// Whether some feature reads what [`Self::metric`] gave.
    #[must_use]
    pub fn is_read(&self, metric: Option<MetricId>) -> bool {
        metric.is_some() && metric != self.beside_features
    }

    /// The names that some feature reads.
    pub fn read_names(&self) -> impl Iterator<Item = &str> {
        let read = (0..).zip(&self.names.names).filter(|(metric, _)| self.is_read(Some(*metric)));
        read.filter_map(|(_, name)| str::from_utf8(name).ok())
    }

    /// The label whose values are the hosts.
    #[must_use]
    pub fn identity(&self) -> &str {
        str::from_utf8(&self.identity.name).unwrap_or_default()
    }

    /// Returns the limits that a kept series' labels are held to.
    #[must_use]
    pub fn label_limits(&self) -> LabelLimits {
        self.labels
    }

    /// Into how many batches a body is split.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards
    }
}

/// The name of a label, to be compared with one name of a message after the other.
#[derive(Debug, Clone)]
pub(super) struct LabelName {
    name: Box<[u8]>,
    /// Where it has 8 bytes, as `instance` has, one comparison of words does.
    word: Option<u64>,
}

impl LabelName {
    fn new(name: &str) -> Self {
        Self { name: name.as_bytes().into(), word: name.as_bytes().try_into().ok().map(u64::from_le_bytes) }
    }

    #[inline]
    pub(super) fn is(&self, name: &[u8]) -> bool {
        match self.word {
            Some(word) => name.try_into().is_ok_and(|name| u64::from_le_bytes(name) == word),
            None => *self.name == *name,
        }
    }
}

/// Metric names in an open-addressed table; fixed, so that nothing a sender does can lengthen a probe.
#[derive(Debug, Clone)]
struct Names {
    /// Position by hash: the hash's upper half and the metric. A quarter full at most.
    slots: Box<[Option<(u32, MetricId)>]>,
    /// The names by metric.
    names: Box<[Box<[u8]>]>,
}

impl Names {
    fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Self> {
        let names: Box<[Box<[u8]>]> = names.into_iter().map(|n| n.as_bytes().into()).collect();
        ensure!(
            names.len() < usize::from(UNLISTED),
            "too many metric names: {}; at most {}",
            names.len(),
            UNLISTED - 1
        );
        let slots = vec![None; (4 * names.len()).next_power_of_two()].into_boxed_slice();
        let mut table = Self { slots, names };
        for metric in 0..table.names.len() {
            let name = &table.names[metric];
            let hash = hash_name(name);
            if table.find(name, hash).is_some() {
                continue;
            }
            let mut slot = hash as usize & (table.slots.len() - 1);
            while table.slots[slot].is_some() {
                slot = (slot + 1) & (table.slots.len() - 1);
            }
            table.slots[slot] = Some(((hash >> 32) as u32, metric as MetricId));
        }
        Ok(table)
    }

    #[inline]
    fn find(&self, name: &[u8], hash: u64) -> Option<MetricId> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some((tag, metric)) = self.slots[slot] {
            if tag == (hash >> 32) as u32 && *self.names[usize::from(metric)] == *name {
                return Some(metric);
            }
            slot = (slot + 1) & mask;
        }
        None
    }
}

#[inline]
fn hash_name(name: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FoldHasher::with_seed(0, SharedSeed::global_fixed());
    hasher.write(name);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(body_bytes: usize) -> Limits {
        Limits { body_bytes, ..Limits::default() }
    }

    #[test]
    fn names_are_found_by_position() {
        let names: Vec<_> = (0..3_000).map(|i| format!("metric_{i}_total")).collect();
        // A repeated name keeps its first position.
        let listed = names.iter().chain(&names[..2]).map(String::as_str);
        let wanted = Wanted::new(listed, "instance", 1, &limits(1)).unwrap();
        for (i, name) in names.iter().enumerate() {
            assert_eq!(wanted.metric(name.as_bytes()), Some(i as MetricId));
        }
        for other in ["", "metric_", "metric_3000_total", "metric_1_total_"] {
            assert_eq!(wanted.metric(other.as_bytes()), None);
        }
        let all = wanted.all_names();
        assert_eq!((all.metric(b"metric_1_total"), all.metric(b"other")), (Some(1), Some(UNLISTED)));
        assert!(all.is_read(Some(1)) && all.is_read(Some(UNLISTED)) && !all.is_read(None));
        let none = Wanted::new([], "instance", 1, &limits(1)).unwrap();
        assert_eq!(none.metric(b"up"), None);
    }

    #[test]
    fn a_metric_may_be_kept_and_not_read() {
        let wanted = Wanted::new(["up", "node_load1"], "instance", 1, &limits(1)).unwrap();
        let read = |wanted: &Wanted| wanted.read_names().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!((read(&wanted), wanted.identity()), (vec!["up".to_owned(), "node_load1".to_owned()], "instance"));
        let beside = wanted.beside_features(0);
        assert_eq!((beside.metric(b"up"), beside.is_read(Some(0)), beside.is_read(Some(1))), (Some(0), false, true));
        assert_eq!(read(&beside), ["node_load1"]);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let check = |names: usize, identity: &str, shards: usize, body_bytes: usize| {
            let names = vec!["up"; names];
            assert!(Wanted::new(names, identity, shards, &limits(body_bytes)).is_err());
        };
        check(1, "", 1, 1);
        check(1, "__name__", 1, 1);
        check(1, "instance", 0, 1);
        check(1, "instance", 70_000, 1);
        check(1, "instance", 1, 1 << 32);
        check(65_535, "instance", 1, 1);
    }
}
