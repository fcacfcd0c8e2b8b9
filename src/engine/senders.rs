//! Which of several senders speaks for a host: replicas of a Prometheus or vmagent scrape the same exporters, each at its own time,
//! and tell themselves apart by the labels of `identity.drop`. Merged, their samples would jump back and forth.
//!
//! As Mimir's HA tracker does: one is heard, until it has been silent for a while and another one speaks. Each job of a host has its
//! own, since jobs may be scraped by senders that have nothing to do with each other.

use std::collections::HashMap;
use std::sync::Arc;

use super::layout::Layout;
use super::new_series::{NewSeries, SenderKey};
use super::row::Sender;
use crate::decode::label_hash;
use crate::promql::labelset::{LabelSets, SHARED};
use crate::series::{Labels, Quoted, Sample, TimestampMs};

/// The label whose values have their own senders.
const JOB: &str = "job";
/// The least silence of the elected sender, in event time, after which another one is heard.
const SILENCE_MS_MIN: i64 = 30_000;
/// The same in scrape intervals: one missed scrape is no silence. `[$range]` holds twice as many, so nothing is lost.
const SILENCE_INTERVALS: i64 = 2;
/// The same while it is not known how often the host is scraped: each five minutes perhaps.
const SILENCE_MS_UNKNOWN: i64 = 900_000;
/// A sender that is not heard of for so long is forgotten when another one comes.
const FORGET_MS: i64 = 3_600_000;
/// Senders that are remembered beside the elected one of a job.
const OTHERS_MAX: usize = 7;
/// Jobs of a host that have senders of their own; further ones share those of the last.
const JOBS_MAX: usize = 32;
/// Names of senders that an engine remembers; more are made up.
const NAMES_MAX: usize = 10_000;

/// The senders of one host.
#[derive(Debug, Default)]
pub(super) struct Senders {
    /// By job.
    elections: Vec<Election>,
    /// By slot: which of the elections its job is; empty where there is one.
    election_of: Box<[u8]>,
    /// Senders that readers are told of; `None` while each job has one sender.
    shown: Option<Arc<[Sender]>>,
}

/// The senders of one job.
#[derive(Debug)]
struct Election {
    /// Hash of the job.
    job: u64,
    /// The one that is heard.
    elected: SenderKey,
    /// Newest sample that was heard.
    newest_ms: TimestampMs,
    /// Whether the elected one is known to write the job's `up`, which every sender does of what it scrapes.
    writes_up: bool,
    /// Those that are not heard.
    others: Vec<Other>,
}

/// A sender that is not heard.
#[derive(Debug, Clone, Copy)]
struct Other {
    key: SenderKey,
    newest_ms: TimestampMs,
    /// Between its newest two scrapes; `None` before the second.
    distance_ms: Option<i64>,
}

/// Outcome for a sender's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hearing {
    Heard,
    /// It is heard from now on.
    Elected,
    /// Another one speaks for the job.
    Refused,
}

/// Samples of one series, and who says them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) sender: SenderKey,
    pub(super) samples: &'a [Sample],
    /// Whether the series is an `up`.
    pub(super) is_up: bool,
    /// Now, on the caller's clock: a sender whose own runs ahead is not taken for one that speaks later.
    pub(super) now_ms: TimestampMs,
}

impl Said<'_> {
    /// Time of the newest sample, which is not in the future.
    fn newest_ms(&self) -> TimestampMs {
        self.samples.last().map_or(TimestampMs::MIN, |sample| sample.t_ms).min(self.now_ms)
    }
}

impl Senders {
    /// Whether the one that is heard says it, of the series in `slot`.
    #[inline]
    pub(super) fn is_heard(&mut self, slot: u32, said: Said<'_>) -> bool {
        let place = self.place(slot);
        self.elections.get_mut(place).is_none_or(|election| election.is_heard(said))
    }

    /// Decides what becomes of what a sender says that was not the one that is heard.
    pub(super) fn contest(&mut self, slot: u32, said: Said<'_>, interval_ms: Option<i64>, names: &Names) -> Hearing {
        self.hear_of(self.place(slot), said, interval_ms, names)
    }

    fn place(&self, slot: u32) -> usize {
        usize::from(self.election_of.get(slot as usize).copied().unwrap_or_default())
    }

    /// Decides what becomes of what is said of a series that the host doesn't know; `run` are the series that came with it.
    pub(super) fn hear_new(
        &mut self,
        found: &NewSeries<'_>,
        run: &[NewSeries<'_>],
        interval_ms: Option<i64>,
        now_ms: TimestampMs,
        names: &Names,
    ) -> Hearing {
        let place = self.place_of(found, run);
        let NewSeries { sender, samples, is_up, .. } = *found;
        self.hear_of(place, Said { sender, samples, is_up, now_ms }, interval_ms, names)
    }

    fn hear_of(&mut self, place: usize, said: Said<'_>, interval_ms: Option<i64>, names: &Names) -> Hearing {
        let Some(election) = self.elections.get_mut(place) else { return Hearing::Heard };
        if election.is_heard(said) {
            election.writes_up |= said.is_up;
            return Hearing::Heard;
        }
        let is_new = !election.others.iter().any(|other| other.key == said.sender);
        let is_elected = election.is_next(said, interval_ms);
        if is_elected || is_new {
            self.show(names);
        }
        if is_elected { Hearing::Elected } else { Hearing::Refused }
    }

    /// The election of the job of `found`, made where it is new.
    fn place_of(&mut self, found: &NewSeries<'_>, run: &[NewSeries<'_>]) -> usize {
        let job = job_of(found);
        if let Some(known) = self.elections.iter().position(|election| election.job == job) {
            return known;
        }
        if self.elections.len() < JOBS_MAX {
            let elected = first_elected(run, job);
            let election = Election { job, elected, newest_ms: TimestampMs::MIN, writes_up: false, others: Vec::new() };
            self.elections.push(election);
        }
        self.elections.len() - 1
    }

    /// The host has these series now; `shared_labels` are the values behind [`SHARED`].
    pub(super) fn assign(&mut self, layout: &Layout, shared_labels: &Labels, sets: &LabelSets) {
        if self.elections.len() < 2 {
            self.election_of = Box::default();
            return;
        }
        let place = |series: &super::layout::Series| {
            let own = sets.get(series.labels).get(JOB);
            let job = if own == Some(SHARED) { shared_labels.get(JOB) } else { own };
            let job = hash_of_job(job.unwrap_or_default());
            let known = self.elections.iter().position(|election| election.job == job);
            u8::try_from(known.unwrap_or(self.elections.len() - 1)).unwrap_or_default()
        };
        self.election_of = layout.series.iter().map(place).collect();
    }

    fn show(&mut self, names: &Names) {
        let shown = |election: &Election| {
            let heard = Sender { labels: names.get(election.elected), is_heard: true };
            let others = election.others.iter().map(|other| Sender { labels: names.get(other.key), is_heard: false });
            std::iter::once(heard).chain(others).collect::<Vec<Sender>>()
        };
        let several = self.elections.iter().filter(|election| !election.others.is_empty());
        self.shown = Some(several.flat_map(shown).collect());
    }

    /// Returns the senders that readers are told of; `None` where each job has one sender.
    pub(super) fn shown(&self) -> Option<Arc<[Sender]>> {
        self.shown.clone()
    }

    /// Whether the labels of `found` are those of a series and not of its sender: where series come without any replica label, a
    /// sender has none, unless it is known as one or marks its `up` too.
    pub(super) fn is_own_label(&self, found: &NewSeries<'_>, run: &[NewSeries<'_>]) -> bool {
        // Most series have none: whatever is below looks at the whole run.
        if found.sender == 0 {
            return false;
        }
        let job = job_of(found);
        let (elected, is_known) = match self.elections.iter().find(|election| election.job == job) {
            Some(election) => (election.elected, election.others.iter().any(|other| other.key == found.sender)),
            None => (first_elected(run, job), false),
        };
        let marks_up = || run.iter().any(|other| other.is_up && other.sender == found.sender);
        elected == 0 && !is_known && !marks_up()
    }
}

impl Election {
    /// Whether the elected one says it.
    #[inline]
    fn is_heard(&mut self, said: Said<'_>) -> bool {
        let is_elected = said.sender == self.elected;
        if is_elected {
            self.newest_ms = self.newest_ms.max(said.newest_ms());
        }
        is_elected
    }

    /// Whether a sender that is not heard is from now on. It is where the elected one has been silent; and one without replica labels
    /// where it writes the `up` and the elected one doesn't: then the others' labels are of their series, not of a sender.
    fn is_next(&mut self, said: Said<'_>, interval_ms: Option<i64>) -> bool {
        let t_ms = said.newest_ms();
        let known = self.others.iter().position(|other| other.key == said.sender);
        let place = known.unwrap_or_else(|| {
            // Pods of a replica have new names with each roll-out.
            self.others.retain(|other| t_ms.saturating_sub(other.newest_ms) < FORGET_MS);
            if self.others.len() >= OTHERS_MAX {
                self.others.remove(0);
            }
            self.others.push(Other { key: said.sender, newest_ms: t_ms, distance_ms: None });
            self.others.len() - 1
        });
        let other = &mut self.others[place];
        if t_ms > other.newest_ms {
            other.distance_ms = Some(t_ms.saturating_sub(other.newest_ms));
            other.newest_ms = t_ms;
        }
        let silence_ms = interval_ms.or(other.distance_ms).map_or(SILENCE_MS_UNKNOWN, |interval_ms| {
            SILENCE_MS_MIN.max(interval_ms.saturating_mul(SILENCE_INTERVALS))
        });
        let is_silent = t_ms > self.newest_ms.saturating_add(silence_ms);
        let marks_none = said.sender == 0 && said.is_up && !self.writes_up;
        if !(is_silent || marks_none) {
            return false;
        }
        let before = Other { key: self.elected, newest_ms: self.newest_ms, distance_ms: None };
        self.others[place] = before;
        (self.elected, self.writes_up) = (said.sender, true);
        self.newest_ms = self.newest_ms.max(t_ms);
        true
    }
}

fn job_of(found: &NewSeries<'_>) -> u64 {
    hash_of_job(found.labels.iter().find(|(name, _)| *name == JOB).map_or("", |(_, value)| *value))
}

fn hash_of_job(job: &str) -> u64 {
    label_hash(JOB, job)
}

/// The sender that is heard first of a job: the one of its `up` in `run`, else of most of its series there.
fn first_elected(run: &[NewSeries<'_>], job: u64) -> SenderKey {
    let of_job = || run.iter().filter(|found| found.is_wanted() && job_of(found) == job);
    if let Some(up) = of_job().find(|found| found.is_up) {
        return up.sender;
    }
    let mut counts: Vec<(SenderKey, usize)> = Vec::new();
    for found in of_job() {
        match counts.iter_mut().find(|(sender, _)| *sender == found.sender) {
            Some((_, n)) => *n += 1,
            None => counts.push((found.sender, 1)),
        }
    }
    // Of several the first.
    counts.iter().rev().max_by_key(|(_, n)| *n).map_or(0, |(sender, _)| *sender)
}

/// The key of a sender with these replica labels.
pub(super) fn key_of(labels: &[(&str, &str)]) -> SenderKey {
    labels.iter().fold(0, |key, (name, value)| key.wrapping_add(label_hash(name, value)))
}

/// The replica labels of senders, as text.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<SenderKey, Arc<str>>);

impl Names {
    /// Remembers a sender by its labels.
    pub(super) fn add(&mut self, key: SenderKey, labels: &[(&str, &str)]) {
        if key != 0 && self.0.len() < NAMES_MAX {
            self.0.entry(key).or_insert_with(|| {
                let pairs: Vec<String> =
                    labels.iter().map(|(name, value)| format!("{name}={}", Quoted(value))).collect();
                pairs.join(",").into()
            });
        }
    }

    fn get(&self, key: SenderKey) -> Arc<str> {
        match self.0.get(&key) {
            Some(name) => Arc::clone(name),
            None if key == 0 => "without replica labels".into(),
            None => format!("sender {key:016x}").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of senders 1 and 2 (and 0) at these seconds with scrapes each 15 s: which are heard.
    fn check(is_up: bool, interval_ms: Option<i64>, samples: &[(SenderKey, i64)], expected: &str) {
        check_ahead(0, is_up, interval_ms, samples, expected);
    }

    /// The same where the clock of sender 2 runs ahead of ours.
    fn check_ahead(ahead_ms: i64, is_up: bool, interval_ms: Option<i64>, samples: &[(SenderKey, i64)], expected: &str) {
        let mut now_ms = 0;
        let first = Election { job: 0, elected: 1, newest_ms: 0, writes_up: false, others: Vec::new() };
        let mut senders = Senders { elections: vec![first], ..Senders::default() };
        let hearing = |(sender, t_s): &(SenderKey, i64)| {
            let samples = [Sample { t_ms: t_s * 1_000, value: 0.0 }];
            now_ms = t_s * 1_000 - if *sender == 2 { ahead_ms } else { 0 };
            let said = Said { sender: *sender, samples: &samples, is_up, now_ms };
            match senders.hear_of(0, said, interval_ms, &Names::default()) {
                Hearing::Heard => '.',
                Hearing::Elected => '!',
                Hearing::Refused => '-',
            }
        };
        let heard: String = samples.iter().map(hearing).collect();
        assert_eq!(heard, expected, "{samples:?}");
    }

    #[test]
    fn one_sender_is_heard_until_it_is_silent() {
        let known = Some(15_000);
        check(true, known, &[(1, 0), (2, 7), (1, 15), (2, 22), (1, 30)], ".-.-.");
        // A missed scrape is no silence.
        check(true, known, &[(1, 0), (2, 7), (2, 22), (1, 30), (2, 37)], ".--.-");
        check(true, known, &[(1, 0), (2, 22), (2, 37), (1, 38), (2, 52), (1, 53)], ".-!-.-");
        // Equal timestamps.
        check(true, known, &[(1, 15), (2, 15), (2, 15)], ".--");
        // While the interval is not known, the other sender's own scrapes tell when the first one should have come.
        check(true, None, &[(1, 0), (2, 24), (2, 84), (2, 144), (2, 204)], ".--!.");
    }

    #[test]
    fn a_sender_whose_clock_runs_ahead_takes_nothing_over() {
        let known = Some(15_000);
        check_ahead(540_000, true, known, &[(1, 0), (2, 547), (1, 15), (2, 562), (1, 30)], ".-.-.");
        // Once the first one is silent, on our clock.
        check_ahead(45_000, true, known, &[(1, 0), (2, 52), (2, 67), (2, 82), (1, 45), (2, 97)], ".--!-.");
    }

    #[test]
    fn a_sender_without_replica_labels_goes_first_only_where_it_alone_writes_up() {
        check(true, Some(15_000), &[(0, 1), (1, 15), (0, 16)], "!-.");
        check(true, Some(15_000), &[(1, 0), (0, 1), (1, 15), (0, 16)], ".-.-");
        check(false, Some(15_000), &[(1, 0), (0, 1), (1, 15), (0, 16)], ".-.-");
    }
}
