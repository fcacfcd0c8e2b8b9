//! The walk over a decompressed `prometheus.WriteRequest`: names first, so that most series cost a few length hops.
//!
//! Reads borrowed bytes and notes what is kept in [`Scratch`]; copies nothing until the whole message has proved well-formed.
//! Of series that nobody wants, only the structure is read: the insides of their labels and samples are stepped over.

use super::DecodeStats;
use super::TimeBounds;
use super::batch::MetricId;
use super::error::{DecodeError, Malformed};
use super::labels::{InvalidSeries, parse_label};
use super::sample::parse_sample;
use super::scratch::{Entries, Kept, Scratch};
use super::tail::Tail;
use super::wanted::{Wanted, label_bytes_hash, label_message_hash, shard_of};
use super::wire::{Reader, WireType, short_field, write_field};
use crate::series::METRIC_NAME;

/// The label that holds the metric name.
const NAME: &[u8] = METRIC_NAME.as_bytes();

/// The inside of a `__name__` label up to its value's length: name's key and length, name, value's key. Nearly every series starts
/// with one.
const NAME_LABEL: [u8; 11] = *b"\x0a\x08__name__\x12";

/// Notes in `scratch` what `wanted` keeps of `message`, and counts everything.
pub(super) fn walk(
    message: &[u8],
    wanted: &Wanted,
    bounds: TimeBounds,
    scratch: &mut Scratch,
) -> Result<DecodeStats, DecodeError> {
    let mut walk = Walk {
        wanted,
        bounds,
        scratch,
        stats: DecodeStats::default(),
        last_name: Name::default(),
        last_host: ((0, 0), 0),
        tail: Tail::default(),
    };
    let mut reader = Reader::new(message);
    while !reader.is_empty() {
        let at = reader.at();
        walk.field(&mut reader).map_err(|problem| DecodeError::Protobuf { at, problem })?;
    }
    Ok(walk.stats)
}

/// The state of one message's walk.
struct Walk<'a, 's> {
    wanted: &'a Wanted,
    bounds: TimeBounds,
    scratch: &'s mut Scratch,
    stats: DecodeStats,
    /// The last name looked up and what came out: the series of a metric follow each other.
    last_name: Name<'a>,
    /// Where the last kept host stands in the scratch, and its shard: a scrape has one host.
    last_host: ((u32, u32), u16),
    tail: Tail<'a>,
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

/// What the labels of a series say.
#[derive(Default)]
struct Labels<'a> {
    /// How many there are.
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

/// How much of what stands behind the labels of a series. `future` and `too_old` stay 0 where samples were not looked into.
#[derive(Default)]
struct Rest {
    samples: u64,
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
                self.series(series, reader.at() - series.len())
            }
            (3, WireType::Bytes) => {
                self.stats.metadata += 1;
                reader.bytes().map(drop)
            }
            (1 | 3, _) => Err(Malformed::FieldType),
            (_, wire_type) => reader.skip(wire_type),
        }
    }

    /// A `TimeSeries`, which starts at byte `at` of the message.
    fn series(&mut self, series: &'a [u8], at: usize) -> Result<(), Malformed> {
        let mut metric = None;
        let mut known = Labels::default();
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
            known = Labels { n: 1, hash: looked_up.hash, name: Some(name), problem, ..Labels::default() };
            unread = behind;
        }
        let first_sample = self.scratch.samples.len();
        let (labels, end, ends_with_tail) = self.labels(known, unread)?;
        let end = series.len() - unread.len() + end;
        let entries = match ends_with_tail {
            true => {
                Entries { at: at as u32, len: end as u32 - self.tail.place.1, gathered: false, tail: self.tail.place }
            }
            false => Entries { at: at as u32, len: end as u32, gathered: false, tail: (0, 0) },
        };
        if !ends_with_tail && labels.problem.is_none() {
            let from = series.len() - unread.len();
            self.tail.learn(&series[from..end], (at + end) as u32, &self.wanted.identity);
        }
        let rest = self.rest(&series[end..])?;
        if rest.labels {
            self.scratch.samples.truncate(first_sample);
            return self.scattered(series);
        }
        let metric = metric.or_else(|| self.wanted.metric(labels.name?));
        self.settle(entries, &labels, metric, &rest, first_sample);
        Ok(())
    }

    /// A series whose labels don't stand together at its start: they are gathered first.
    #[cold]
    fn scattered(&mut self, series: &'a [u8]) -> Result<(), Malformed> {
        let mut gathered = std::mem::take(&mut self.scratch.gathered);
        let at = gathered.len();
        let mut reader = Reader::new(series);
        while !reader.is_empty() {
            match reader.key()? {
                (1, WireType::Bytes) => write_field(&mut gathered, 0x0a, reader.bytes()?),
                (_, wire_type) => reader.skip(wire_type)?,
            }
        }
        let first_sample = self.scratch.samples.len();
        let (labels, ..) = self.labels(Labels::default(), &gathered[at..])?;
        let rest = self.rest(series)?;
        let entries = Entries { at: at as u32, len: (gathered.len() - at) as u32, gathered: true, tail: (0, 0) };
        let metric = labels.name.and_then(|name| self.wanted.metric(name));
        self.settle(entries, &labels, metric, &rest, first_sample);
        self.scratch.gathered = gathered;
        Ok(())
    }

    /// Reads the labels at the start of `series` on top of those that are `known`; says where they end, and whether the
    /// known tail stands at that end.
    fn labels<'b>(&self, known: Labels<'b>, series: &'b [u8]) -> Result<(Labels<'b>, usize, bool), Malformed>
    where
        'a: 'b,
    {
        let mut labels = known;
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
        Ok((labels, series.len() - rest.len(), behind_tail == Some(rest.len())))
    }

    /// Reads what stands behind the labels and notes the samples that are within the bounds.
    fn rest(&mut self, rest: &[u8]) -> Result<Rest, Malformed> {
        let mut found = Rest::default();
        // One sample and nothing else, as nearly every series has it.
        if let Some((0x12, content, [])) = short_field(rest) {
            found.samples = 1;
            self.sample(content, &mut found)?;
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
                    self.sample(content, &mut found)?;
                }
                3 => found.exemplars += 1,
                _ => found.histograms += 1,
            }
        }
        Ok(found)
    }

    /// Notes a sample if it is within the bounds.
    #[inline]
    fn sample(&mut self, content: &[u8], found: &mut Rest) -> Result<(), Malformed> {
        let sample = parse_sample(content)?;
        if sample.t_ms > self.bounds.max_ms {
            found.future += 1;
        } else if sample.t_ms < self.bounds.min_ms {
            found.too_old += 1;
        } else {
            self.scratch.samples.push(sample);
        }
        Ok(())
    }

    /// Decides on a series that has been read, and counts it. `first_sample` is where its samples start in the scratch.
    fn settle(
        &mut self,
        entries: Entries,
        labels: &Labels<'_>,
        metric: Option<MetricId>,
        rest: &Rest,
        first_sample: usize,
    ) {
        self.count(rest);
        let kept = (self.scratch.samples.len() - first_sample) as u32;
        let problem = match (labels.name, metric, labels.problem) {
            (None | Some([]), ..) => Some(InvalidSeries::NoName),
            (Some(_), None, _) => {
                self.stats.ignored_samples += rest.samples;
                self.scratch.samples.truncate(first_sample);
                return;
            }
            (Some(_), Some(metric), None) => match self.host(labels) {
                Ok((host, shard)) => {
                    self.stats.future_samples += rest.future;
                    self.stats.too_old_samples += rest.too_old;
                    self.stats.kept_samples += u64::from(kept);
                    if kept > 0 {
                        let samples = (first_sample as u32, kept);
                        self.scratch.keep(Kept { entries, labels_hash: labels.hash, host, samples, metric, shard });
                    }
                    None
                }
                Err(problem) => Some(problem),
            },
            (Some(_), Some(_), problem) => problem,
        };
        if let Some(problem) = problem {
            self.stats.invalid_series[problem as usize] += 1;
            self.scratch.samples.truncate(first_sample);
        }
    }

    /// Where the scratch has the host, and its shard.
    #[inline]
    fn host(&mut self, labels: &Labels<'_>) -> Result<((u32, u32), u16), InvalidSeries> {
        if labels.has_last_host {
            return Ok(self.last_host);
        }
        let host = labels.host.filter(|host| !host.is_empty()).ok_or(InvalidSeries::NoIdentity)?;
        let (at, len) = self.last_host.0;
        if self.scratch.hosts.as_bytes()[at as usize..][..len as usize] == *host {
            self.tail.is_of_last_host = self.tail.host == host;
            return Ok(self.last_host);
        }
        let host = str::from_utf8(host).map_err(|_| InvalidSeries::InvalidUtf8)?;
        let at = self.scratch.hosts.len() as u32;
        self.scratch.hosts.push_str(host);
        self.last_host = ((at, host.len() as u32), shard_of(host, self.wanted.shards) as u16);
        self.tail.is_of_last_host = self.tail.host == host.as_bytes();
        Ok(self.last_host)
    }

    /// The name that a series begins with, looked up, and what follows it.
    fn leading_name(&mut self, series: &'a [u8]) -> Option<(Name<'a>, &'a [u8])> {
        let (name, behind) = leading_name(series)?;
        let metric = self.wanted.metric(name);
        let hash = metric.map_or(0, |_| label_bytes_hash(NAME, name));
        let entry = &series[..series.len() - behind.len()];
        self.last_name = Name { name, entry, metric, hash };
        Some((self.last_name, behind))
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
