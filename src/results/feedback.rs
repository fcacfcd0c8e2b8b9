//! Opinions of people about events, and their effect: a factor on the limit of each host that was spoken of.
//!
//! The one writer of its file. Scoring threads read an immutable table that is replaced as a whole; the lock around it is held for the
//! copy of a pointer. It speaks of hosts, not of features: a host whose backup is expected is as a rule disturbed in several.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use parking_lot::{Mutex, MutexGuard, RwLock};
use prometheus::{IntGauge, Registry};
use serde::{Deserialize, Serialize};

use crate::base::storage;
use crate::detect::host_detector::LimitFactors;
use crate::results::events::Event;
use crate::series::TimestampMs;

/// The file in the storage folder.
const FILE: &str = "feedback.json";

/// Opinion of somebody about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rating {
    /// Nobody wants to hear of such: the limit rises.
    Expected,
    /// More of these: the limit falls.
    Useful,
}

/// An opinion in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackEntry {
    /// Id of the event; unique here, and it may be gone from the history.
    pub event: String,
    /// Its host, whose limit it changes.
    pub host: String,
    /// Opinion that was given.
    pub verdict: Rating,
    /// When, by our clock.
    pub given_ms: TimestampMs,
}

/// By how much an opinion changes a limit, and how far all of them may.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Factor by which one opinion multiplies or divides the limit; at least 1.
    pub step: f64,
    /// The least factor; at most 1.
    pub min: f64,
    /// The largest factor; at least 1.
    pub max: f64,
    /// Opinions kept.
    pub opinions: usize,
}

/// Why an opinion was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are as many as may be.
    Full(usize),
    /// It could not be written to the storage; nothing has changed.
    NotKept(String),
}

/// All opinions in force.
#[derive(Debug)]
pub struct Feedback {
    bounds: Bounds,
    given: Mutex<Vec<FeedbackEntry>>,
    /// Factors that follow from `given`.
    factors: RwLock<Arc<LimitFactors>>,
    /// File that they are kept in; `None` where they are not.
    path: Option<PathBuf>,
    /// Number of them.
    gauge: IntGauge,
}

/// A host that was spoken of.
#[derive(Debug, PartialEq, Serialize)]
pub struct HostFeedback {
    /// Its name.
    pub host: String,
    /// Factor that its limit is multiplied with.
    pub factor: f64,
    /// Why, in the order in which it was said.
    pub feedback: Vec<FeedbackEntry>,
}

impl Feedback {
    /// Reads what is kept in the folder `storage`, if there is one. A file that cannot be read is moved aside and said in the log.
    ///
    /// # Errors
    /// The registry has the metric already.
    pub fn open(storage: Option<&Path>, bounds: Bounds, registry: &Registry) -> prometheus::Result<Self> {
        let path = storage.map(|folder| folder.join(FILE));
        let given = path.as_deref().map(kept).unwrap_or_default();
        let gauge = IntGauge::new("outlierd_feedback_opinions", "Opinions about events that change limits.")?;
        registry.register(Box::new(gauge.clone()))?;
        gauge.set(given.len() as i64);
        let factors = RwLock::new(Arc::new(factors(&given, &bounds)));
        Ok(Self { bounds, given: Mutex::new(given), factors, path, gauge })
    }

    /// The factors as they are now.
    #[must_use]
    pub fn factors(&self) -> Arc<LimitFactors> {
        Arc::clone(&self.factors.read())
    }

    /// Somebody says this of `event`; what was said of it before no longer counts.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn give(&self, event: &Event, verdict: Rating, now_ms: TimestampMs) -> Result<HostFeedback, Refused> {
        let mut given = self.lock();
        let mut changed: Vec<FeedbackEntry> = given.iter().filter(|one| one.event != event.id).cloned().collect();
        if changed.len() >= self.bounds.opinions {
            return Err(Refused::Full(self.bounds.opinions));
        }
        let host = event.host.clone();
        changed.push(FeedbackEntry { event: event.id.clone(), host, verdict, given_ms: now_ms });
        self.replace(&mut given, changed)?;
        Ok(self.of_host(&given, &event.host))
    }

    /// Withdraws what was said of the event, so that it no longer counts; `None` where nothing was.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn undo(&self, event: &str) -> Result<Option<HostFeedback>, Refused> {
        let mut given = self.lock();
        let Some(undone) = given.iter().find(|one| one.event == event).cloned() else { return Ok(None) };
        let changed = given.iter().filter(|one| one.event != event).cloned().collect();
        self.replace(&mut given, changed)?;
        Ok(Some(self.of_host(&given, &undone.host)))
    }

    /// Every host that was spoken of, by name.
    #[must_use]
    pub fn list(&self) -> Vec<HostFeedback> {
        let given = self.lock();
        let mut hosts: Vec<&str> = given.iter().map(|one| one.host.as_str()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let mut by_host: BTreeMap<&str, Vec<FeedbackEntry>> =
            hosts.into_iter().map(|host| (host, Vec::new())).collect();
        for one in given.iter() {
            by_host.entry(&one.host).or_default().push(one.clone());
        }
        let factors = self.factors();
        let of_host = |(host, feedback): (&str, Vec<FeedbackEntry>)| {
            let factor = factors.get(host).copied().unwrap_or(1.0);
            HostFeedback { host: host.to_owned(), factor, feedback }
        };
        by_host.into_iter().map(of_host).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<FeedbackEntry>> {
        self.given.lock()
    }

    fn of_host(&self, given: &[FeedbackEntry], host: &str) -> HostFeedback {
        let feedback = given.iter().filter(|one| one.host == host).cloned().collect();
        let factor = self.factors().get(host).copied().unwrap_or(1.0);
        HostFeedback { host: host.to_owned(), factor, feedback }
    }

    /// First on disk, then in force: what is in force survives a restart.
    fn replace(&self, given: &mut Vec<FeedbackEntry>, changed: Vec<FeedbackEntry>) -> Result<(), Refused> {
        self.keep(&changed).map_err(|error| Refused::NotKept(format!("{error:#}")))?;
        *given = changed;
        self.gauge.set(given.len() as i64);
        *self.factors.write() = Arc::new(factors(given, &self.bounds));
        Ok(())
    }

    fn keep(&self, given: &[FeedbackEntry]) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let bytes = serde_json::to_vec_pretty(given)?;
        storage::replace(path, &bytes).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// ```text
/// factor = clamp(step ^ (expected − useful), min, max)
/// ```
fn factors(given: &[FeedbackEntry], bounds: &Bounds) -> LimitFactors {
    let mut steps: HashMap<&str, i32> = HashMap::new();
    for one in given {
        *steps.entry(&one.host).or_default() += if one.verdict == Rating::Expected { 1 } else { -1 };
    }
    let factor = |n: i32| bounds.step.powi(n).clamp(bounds.min, bounds.max);
    let changed = steps.into_iter().filter(|(_, n)| *n != 0);
    changed.map(|(host, n)| (host.to_owned(), factor(n))).collect()
}

/// The opinions in the file at `path`; none where there is no file.
fn kept(path: &Path) -> Vec<FeedbackEntry> {
    let read = || -> anyhow::Result<Vec<FeedbackEntry>> {
        match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            bytes => Ok(serde_json::from_slice(&bytes?)?),
        }
    };
    read().unwrap_or_else(|error| {
        let aside = storage::move_aside(path);
        tracing::error!(error = format!("{error:#}"), file = %aside.display(), "cannot read the feedback; there is none now");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { step: 2.0, min: 0.5, max: 3.0, opinions: 4 };

    fn open(storage: Option<&Path>) -> Feedback {
        Feedback::open(storage, BOUNDS, &Registry::new()).unwrap()
    }

    /// `+` expected, `-` useful, each of another event of one host.
    fn check(said: &str, expected: f64) {
        let feedback = open(None);
        for (i, one) in said.chars().enumerate() {
            let verdict = if one == '+' { Rating::Expected } else { Rating::Useful };
            assert!(feedback.give(&Event::of("a", &i.to_string()), verdict, 0).is_ok());
        }
        assert_eq!(feedback.factors().get("a").copied().unwrap_or(1.0), expected, "{said}");
        assert_eq!(feedback.factors().get("b"), None);
    }

    #[test]
    fn opinions_change_the_limit_within_bounds() {
        check("", 1.0);
        check("+", 2.0);
        check("++", 3.0);
        check("-", 0.5);
        check("--", 0.5);
        check("+-", 1.0);
        check("++-", 2.0);
    }

    #[test]
    fn the_last_word_on_an_event_counts_and_can_be_taken_back() {
        let feedback = open(None);
        feedback.give(&Event::of("a", "1"), Rating::Expected, 5).unwrap();
        let now = feedback.give(&Event::of("a", "1"), Rating::Useful, 6).unwrap();
        let given = FeedbackEntry { event: "1".into(), host: "a".into(), verdict: Rating::Useful, given_ms: 6 };
        assert_eq!(now, HostFeedback { host: "a".into(), factor: 0.5, feedback: vec![given] });
        feedback.give(&Event::of("b", "2"), Rating::Expected, 7).unwrap();
        let hosts: Vec<(String, f64)> = feedback.list().into_iter().map(|one| (one.host, one.factor)).collect();
        assert_eq!(hosts, [("a".to_owned(), 0.5), ("b".to_owned(), 2.0)]);
        assert_eq!(feedback.undo("3"), Ok(None));
        assert_eq!(feedback.undo("1").unwrap().unwrap().factor, 1.0);
        assert_eq!((feedback.undo("1"), feedback.list().len()), (Ok(None), 1));
    }

    #[test]
    fn they_are_bounded() {
        let feedback = open(None);
        for i in 0..4 {
            feedback.give(&Event::of("a", &i.to_string()), Rating::Expected, 0).unwrap();
        }
        assert_eq!(feedback.give(&Event::of("a", "4"), Rating::Expected, 0), Err(Refused::Full(4)));
        assert!(feedback.give(&Event::of("a", "3"), Rating::Useful, 0).is_ok(), "another word on the same");
    }

    #[test]
    fn they_outlive_the_service() {
        let folder = tempfile::tempdir().unwrap();
        let feedback = open(Some(folder.path()));
        feedback.give(&Event::of("a", "1"), Rating::Expected, 5).unwrap();
        let again = open(Some(folder.path()));
        assert_eq!((again.list(), again.factors().get("a")), (feedback.list(), Some(&2.0)));
        for text in ["", "{", "[{\"event\": 1}]"] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            let feedback = open(Some(folder.path()));
            assert!(feedback.list().is_empty(), "{text}");
            assert_eq!(std::fs::read_to_string(folder.path().join("feedback.json.unreadable")).unwrap(), text);
        }
        // What is not kept is not in force.
        std::fs::create_dir(folder.path().join("feedback.json.new")).unwrap();
        let feedback = open(Some(folder.path()));
        assert!(matches!(feedback.give(&Event::of("a", "1"), Rating::Expected, 5), Err(Refused::NotKept(_))));
        assert!(feedback.list().is_empty() && feedback.factors().is_empty());
    }
}
