//! The walk over a decompressed `prometheus.WriteRequest`: names first, so that most series cost a few length hops.
//!
//! Copies what is kept straight into the batches; who calls throws them away if the message proves malformed further on.
//! Of series that nobody wants, only the structure is read: the insides of their labels and samples are stepped over.

use super::DecodeStats;
use super::TimeBounds;
use super::batch::{MetricId, Place, SampleBatch};
use super::error::{DecodeError, Malformed};
use super::hash::{label_bytes_hash, label_message_hash, shard_of};
use super::labels::{InvalidSeries, parse_label};
use super::sample::parse_sample;
use super::seen::Seen;
use super::tail::Tail;
use super::wanted::Wanted;
use super::wire::{Reader, WireType, short_field, write_field};
use crate::series::METRIC_NAME;

/// The label that holds the metric name.
const NAME: &[u8] = METRIC_NAME.as_bytes();

/// The inside of a `__name__` label up to its value's length: name's key and length, name, value's key. Nearly every series starts
/// with one.
const NAME_LABEL: [u8; 11] = *b"\x0a\x08__name__\x12";

/// Puts what `wanted` keeps of `message` into `batches`, of which there is one per shard, and counts everything. Says also whether
/// something was met that is not in `seen`.
pub(super) fn walk(
    message: &[u8],
    wanted: &Wanted,
    bounds: TimeBounds,
    seen: Option<&Seen>,
    batches: &mut [SampleBatch],
) -> Result<(DecodeStats, bool), DecodeError> {
    let mut walk = Walk {
        wanted,
        bounds,
        batches,
        unseen: Unseen { seen, is_met: false },
        stats: DecodeStats::default(),
        last_name: Name::default(),
        last_host: Host::default(),
        tail: Tail::default(),
    };
    let mut reader = Reader::new(message);
    while !reader.is_empty() {
        let at = reader.at();
        walk.field(&mut reader).map_err(|problem| DecodeError::Protobuf { at, problem })?;
    }
    let lacks_identity = walk.stats.unidentified_samples > 0;
    let is_new = walk.unseen.is_met || lacks_identity && seen.is_some_and(|seen| !seen.has_without_identity());
    Ok((walk.stats, is_new))
}

/// The state of one message's walk.
struct Walk<'a, 's> {
    wanted: &'a Wanted,
    bounds: TimeBounds,
    batches: &'s mut [SampleBatch],
    unseen: Unseen<'s>,
    stats: DecodeStats,
    /// The last name looked up and what came out: the series of a metric follow each other.
    last_name: Name<'a>,
    /// The last host of a wanted series: a scrape has one.
    last_host: Host,
    tail: Tail<'a>,
}

/// Whether an unwanted name was met that nobody has looked at.
struct Unseen<'s> {
    /// Names that were looked at; nobody asks where `None`.
    seen: Option<&'s Seen>,
    is_met: bool,
}

impl Unseen<'_> {
    #[inline]
    fn meet(&mut self, name_hash: u64) {
        if let Some(seen) = self.seen {
            self.is_met |= !seen.has(name_hash);
        }
    }
}

/// A host that was met.
#[derive(Default)]
struct Host {
    /// Empty before the first one.
    name: String,
    shard: usize,
    /// Place in the batch of its shard; `None` before it has a series there.
    place: Option<Place>,
}

/// A metric name that was looked up.
#[derive(Default, Clone, Copy)]
struct Name<'a> {
    name: &'a [u8],
    /// The label's entry where a series began with it; else empty.
    entry: &'a [u8],
    metric: Option<MetricId>,
    /// Of the label that it is the value of, where the metric is wanted.
    hash: u64,
}

/// Summary of what the labels of a series say.
#[derive(Default)]
struct Labels<'a> {
    /// Number of labels.
    n: usize,
    /// The sum of their hashes.
    hash: u64,
    /// Value of the first `__name__`.
    name: Option<&'a [u8]>,
    /// Value of the first identity label.
    host: Option<&'a [u8]>,
    /// Whether that is known to be the walk's last host.
    has_last_host: bool,
    /// The first label that is against the limits.
    problem: Option<InvalidSeries>,
}

/// Outcome for a series.
enum SeriesOutcome {
    /// Nobody wants it.
    Ignored,
    Invalid(InvalidSeries),
    /// Its samples within the bounds go to a shard.
    Kept {
        metric: MetricId,
        shard: usize,
    },
}

/// Counts of what stands behind the labels of a series. Samples of series that aren't kept count in `samples` alone.
#[derive(Default)]
struct Rest {
    samples: u64,
    /// Put into the batch.
    kept: u32,
    future: u64,
    too_old: u64,
    exemplars: u64,
    histograms: u64,
    /// There are labels too: legal, and written by nobody known.
    labels: bool,
}

impl<'a> Walk<'a, '_> {
    fn field(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        match reader.key()? {
            (1, WireType::Bytes) => {
                let series = reader.bytes()?;
                self.series(series)
            }
            (3, WireType::Bytes) => {
                self.stats.metadata += 1;
                reader.bytes().map(drop)
            }
            (1 | 3, _) => Err(Malformed::FieldType),
            (_, wire_type) => reader.skip(wire_type),
        }
    }

    /// A `TimeSeries`.
    fn series(&mut self, series: &'a [u8]) -> Result<(), Malformed> {
        let mut metric = None;
        let mut labels = Labels::default();
        let mut unread = series;
        // The series of a metric follow each other: then the name is the last one's, byte by byte.
        let same_name = match self.last_name.entry {
            [] => None,
            entry => series.strip_prefix(entry).map(|behind| (self.last_name, behind)),
        };
        if let Some((looked_up, behind)) = same_name.or_else(|| self.leading_name(series)) {
            let name = looked_up.name;
            metric = looked_up.metric;
            if metric.is_none() {
                let rest = if self.tail.is_before_one_sample(behind) {
                    Rest { samples: 1, ..Rest::default() }
                } else {
                    skim(behind)?
                };
                self.stats.ignored_samples += rest.samples;
                self.count(&rest);
                return Ok(());
            }
            let problem = self.wanted.labels.check(0, NAME, name).err();
            labels = Labels { n: 1, hash: looked_up.hash, name: Some(name), problem, ..Labels::default() };
            unread = behind;
        }
        let (end, ends_with_tail) = self.labels(&mut labels, unread)?;
        let from = series.len() - unread.len();
        let (entries, rest) = series.split_at(from + end);
        if !ends_with_tail && labels.problem.is_none() {
            self.tail.learn(&entries[from..], &self.wanted.identity);
        }
        let metric = metric.or_else(|| self.look_up(labels.name?));
        let fate = self.fate(&labels, metric);
        let found = self.rest(rest, &fate)?;
        if found.labels {
            self.forget_samples(&fate, &found);
            return self.scattered(series);
        }
        let own = if ends_with_tail { entries.len() - self.tail.entries.len() } else { entries.len() };
        self.settle(&fate, &found, &entries[..own], labels.hash, ends_with_tail);
        Ok(())
    }

    /// A series whose labels don't stand together at its start: they are gathered first.
    #[cold]
    fn scattered(&mut self, series: &'a [u8]) -> Result<(), Malformed> {
        let mut gathered = Vec::new();
        let mut reader = Reader::new(series);
        while !reader.is_empty() {
            match reader.key()? {
                (1, WireType::Bytes) => write_field(&mut gathered, 0x0a, reader.bytes()?),
                (_, wire_type) => reader.skip(wire_type)?,
            }
        }
        let mut labels = Labels::default();
        self.labels(&mut labels, &gathered)?;
        let metric = labels.name.and_then(|name| self.look_up(name));
        let fate = self.fate(&labels, metric);
        let found = self.rest(series, &fate)?;
        self.settle(&fate, &found, &gathered, labels.hash, false);
        Ok(())
    }

    /// Adds the labels at the start of `series` to `labels`; says where they end, and whether the known tail stands at that end.
    fn labels<'b>(&self, labels: &mut Labels<'b>, series: &'b [u8]) -> Result<(usize, bool), Malformed>
    where
        'a: 'b,
    {
        let mut rest = series;
        let mut behind_tail = None;
        loop {
            if behind_tail.is_none()
                && let Some(behind) = self.tail.strip_from(rest)
            {
                behind_tail = Some(behind.len());
                rest = behind;
                labels.n += self.tail.n;
                labels.hash = labels.hash.wrapping_add(self.tail.hash);
                if labels.host.is_none() {
                    labels.host = Some(self.tail.host);
                    labels.has_last_host = self.tail.is_of_last_host;
                }
                if labels.n > self.wanted.labels.labels_per_series {
                    labels.problem.get_or_insert(InvalidSeries::TooManyLabels);
                }
            }
            let label;
            (label, rest) = match short_field(rest) {
                Some((0x0a, label, behind)) => (label, behind),
                Some(_) => break,
                None => {
                    let mut reader = Reader::new(rest);
                    if !reader.next_is(0x0a) {
                        break;
                    }
                    (reader.bytes()?, &rest[reader.at()..])
                }
            };
            let (name, value) = parse_label(label)?;
            if let Err(problem) = self.wanted.labels.check(labels.n, name, value) {
                labels.problem.get_or_insert(problem);
            }
            labels.n += 1;
            labels.hash = labels.hash.wrapping_add(label_message_hash(label));
            // The first counts: whether there are two is looked at once per series, by `parse_labels`.
            if labels.host.is_none() && self.wanted.identity.is(name) {
                labels.host = Some(value);
            } else if name == NAME {
                labels.name.get_or_insert(value);
            }
        }
        Ok((series.len() - rest.len(), behind_tail == Some(rest.len())))
    }

    /// Decides what becomes of a series with these labels. Of a kept one the walk's last host is the host.
    #[inline]
    fn fate(&mut self, labels: &Labels<'_>, metric: Option<MetricId>) -> SeriesOutcome {
        match (labels.name, metric, labels.problem) {
            (None | Some([]), ..) => SeriesOutcome::Invalid(InvalidSeries::NoName),
            (Some(_), None, _) => SeriesOutcome::Ignored,
            (Some(_), Some(_), Some(problem)) => SeriesOutcome::Invalid(problem),
            (Some(_), Some(metric), None) => match self.meet_host(labels) {
                Ok(()) => SeriesOutcome::Kept { metric, shard: self.last_host.shard },
                Err(problem) => SeriesOutcome::Invalid(problem),
            },
        }
    }

    /// Reads what stands behind the labels; puts the samples of a kept series that are within the bounds into its batch.
    #[inline]
    fn rest(&mut self, rest: &[u8], fate: &SeriesOutcome) -> Result<Rest, Malformed> {
        let mut found = Rest::default();
        // One sample and nothing else, as nearly every series has it.
        if let Some((0x12, content, [])) = short_field(rest) {
            found.samples = 1;
            self.sample(content, fate, &mut found)?;
            return Ok(found);
        }
        let mut reader = Reader::new(rest);
        while !reader.is_empty() {
            let (field, wire_type) = reader.key()?;
            if field > 4 {
                reader.skip(wire_type)?;
                continue;
            }
            if wire_type != WireType::Bytes {
                return Err(Malformed::FieldType);
            }
            let content = reader.bytes()?;
            match field {
                1 => found.labels = true,
                2 => {
                    found.samples += 1;
                    self.sample(content, fate, &mut found)?;
                }
                3 => found.exemplars += 1,
                _ => found.histograms += 1,
            }
        }
        Ok(found)
    }

    #[inline]
    fn sample(&mut self, content: &[u8], fate: &SeriesOutcome, found: &mut Rest) -> Result<(), Malformed> {
        let sample = parse_sample(content)?;
        let SeriesOutcome::Kept { shard, .. } = *fate else { return Ok(()) };
        if sample.t_ms > self.bounds.max_ms {
            found.future += 1;
        } else if sample.t_ms < self.bounds.min_ms {
            found.too_old += 1;
        } else {
            self.batches[shard].push_sample(sample);
            found.kept += 1;
        }
        Ok(())
    }

    /// Takes the samples of a series out of its batch again.
    fn forget_samples(&mut self, fate: &SeriesOutcome, found: &Rest) {
        if let SeriesOutcome::Kept { shard, .. } = *fate {
            self.batches[shard].forget_samples(found.kept);
        }
    }

    /// Counts a series that has been read, and gives one that is kept its place. `entries` are its labels, before those of the
    /// tail if it ends with it, and the hash of all.
    #[inline]
    fn settle(&mut self, fate: &SeriesOutcome, found: &Rest, entries: &[u8], hash: u64, ends_with_tail: bool) {
        self.count(found);
        match *fate {
            SeriesOutcome::Ignored => self.stats.ignored_samples += found.samples,
            SeriesOutcome::Invalid(problem) => {
                self.stats.invalid_series[problem as usize] += 1;
                if problem == InvalidSeries::NoIdentity {
                    self.stats.unidentified_samples += found.samples;
                }
            }
            SeriesOutcome::Kept { metric, shard } => {
                self.stats.future_samples += found.future;
                self.stats.too_old_samples += found.too_old;
                self.stats.kept_samples += u64::from(found.kept);
                if found.kept > 0 {
                    let batch = &mut self.batches[shard];
                    let host = *self.last_host.place.get_or_insert_with(|| batch.place_host(&self.last_host.name));
                    let tail = if ends_with_tail { self.tail.place_in(batch, shard) } else { Place::default() };
                    batch.push_entries(entries, tail, hash, host, metric, found.kept);
                }
            }
        }
    }

    /// Makes the host that the labels name the last one.
    #[inline]
    fn meet_host(&mut self, labels: &Labels<'_>) -> Result<(), InvalidSeries> {
        if labels.has_last_host {
            return Ok(());
        }
        let name = labels.host.filter(|host| !host.is_empty()).ok_or(InvalidSeries::NoIdentity)?;
        if self.last_host.name.as_bytes() != name {
            let name = str::from_utf8(name).map_err(|_| InvalidSeries::InvalidUtf8)?;
            self.last_host.name.clear();
            self.last_host.name.push_str(name);
            self.last_host.shard = shard_of(name, self.wanted.shards);
            self.last_host.place = None;
        }
        self.tail.is_of_last_host = self.tail.host == name;
        Ok(())
    }

    /// The name that a series begins with, looked up, and what follows it.
    fn leading_name(&mut self, series: &'a [u8]) -> Option<(Name<'a>, &'a [u8])> {
        let (name, behind) = leading_name(series)?;
        let metric = self.look_up(name);
        let hash = metric.map_or(0, |_| label_bytes_hash(NAME, name));
        let entry = &series[..series.len() - behind.len()];
        self.last_name = Name { name, entry, metric, hash };
        Some((self.last_name, behind))
    }

    /// The metric that `name` is. Costs nothing per sample: the series of a metric follow each other.
    #[inline]
    fn look_up(&mut self, name: &[u8]) -> Option<MetricId> {
        let (metric, name_hash) = self.wanted.look_up(name);
        if metric.is_none() {
            self.unseen.meet(name_hash);
        }
        metric
    }

    #[inline]
    fn count(&mut self, rest: &Rest) {
        self.stats.series += 1;
        self.stats.received_samples += rest.samples;
        self.stats.exemplars += rest.exemplars;
        self.stats.histograms += rest.histograms;
    }
}

/// The value of the first label if that is a `__name__` of usual length, and what follows the label.
#[inline]
fn leading_name(series: &[u8]) -> Option<(&[u8], &[u8])> {
    let ([0x0a, entry_len, label @ .., value_len], behind) = series.split_first_chunk::<14>()? else { return None };
    // The label's bytes before its value are 12; nothing else may follow the value.
    if *label != NAME_LABEL || !(1..0x80 - 12).contains(value_len) || *entry_len != *value_len + 12 {
        return None;
    }
    behind.split_at_checked(usize::from(*value_len))
}

/// Counts what a series has without looking inside.
#[inline]
fn skim(series: &[u8]) -> Result<Rest, Malformed> {
    let mut found = Rest::default();
    let mut series = series;
    // Labels and samples as nearly all are, without the generality below.
    while let Some((key @ (0x0a | 0x12), _, behind)) = short_field(series) {
        found.samples += u64::from(key == 0x12);
        series = behind;
    }
    let mut reader = Reader::new(series);
    while !reader.is_empty() {
        let (field, wire_type) = reader.key()?;
        if field <= 4 && wire_type != WireType::Bytes {
            return Err(Malformed::FieldType);
        }
        reader.skip(wire_type)?;
        match field {
            2 => found.samples += 1,
            3 => found.exemplars += 1,
            4 => found.histograms += 1,
            _ => {}
        }
    }
    Ok(found)
}
