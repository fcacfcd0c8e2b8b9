//! Flags → events: what begins one, what goes on with one, what ends it, and which are kept. Pure: time is an argument.
//!
//! Knows no file and no lock. Rows of one host come in order; those of several hosts in any.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::engine::row::HostId;
use crate::series::TimestampMs;

use super::event::{Ending, Event, TopFeature, id_of};

/// A higher peak alone is worth storing so often.
const SAVE_EVERY_MS: i64 = 300_000;

/// Every event that is known. Bounded by `max`.
#[derive(Debug)]
pub struct EventStore {
    /// A flag that rises at most so long after an event of its host ended goes on with that event.
    merge_ms: i64,
    /// Events kept.
    max: usize,
    /// By the order in which they began.
    entries: BTreeMap<u64, Entry>,
    /// Key of the next entry.
    next: u64,
    /// By the event's id.
    by_id: HashMap<String, u64>,
    /// By the host's name, its newest event.
    newest: HashMap<String, u64>,
    /// Those that are not over.
    open: BTreeSet<u64>,
    /// Those that have changed since they were last taken to be stored.
    unsaved: BTreeSet<u64>,
    /// Number of times that an event began, began again, ended or had other labels.
    n_turns: u64,
    /// Begun since this was made.
    n_begun: u64,
    /// Given up for others, or not begun for want of room, since this was made.
    n_dropped: u64,
}

#[derive(Debug)]
struct Entry {
    event: Arc<Event>,
    /// When, in event time, it was last marked to be stored.
    marked_ms: TimestampMs,
    /// When, by our clock, it was read from the storage; `None` once a row of its host was seen.
    restored_ms: Option<TimestampMs>,
}

/// A row with the flag, of a host that is judged.
#[derive(Debug, Clone, Copy)]
pub struct Flagged<'a> {
    /// Host of the row.
    pub host: &'a HostId,
    /// Alias of the bundle.
    pub model: &'a str,
    /// The row.
    pub t_ms: TimestampMs,
    /// The row at which the flag rose.
    pub since_ms: TimestampMs,
    /// Its score.
    pub score: f64,
}

/// Which events are asked for; `None` means any.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Of this host.
    pub host: Option<String>,
    /// Open or closed.
    pub is_open: Option<bool>,
    /// Not over before this.
    pub since_ms: Option<TimestampMs>,
    /// Begun by this.
    pub until_ms: Option<TimestampMs>,
}

impl EventStore {
    /// See `merge_ms`.
    pub fn set_merge(&mut self, merge_ms: i64) {
        self.merge_ms = merge_ms;
    }

    /// Without events.
    #[must_use]
    pub fn new(merge_ms: i64, max: usize) -> Self {
        Self {
            merge_ms,
            max: max.max(1),
            entries: BTreeMap::new(),
            next: 0,
            by_id: HashMap::new(),
            newest: HashMap::new(),
            open: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            n_turns: 0,
            n_begun: 0,
            n_dropped: 0,
        }
    }

    /// Adds what was stored, in the order in which it began. What was open waits for its host, see [`EventStore::end_abandoned`].
    pub fn restore(&mut self, stored: Vec<Event>, now_ms: TimestampMs) {
        for event in stored {
            self.insert(event, Some(now_ms));
        }
    }

    /// A row with the flag. `features` are those of the row, asked for where they are kept.
    pub fn flagged(&mut self, row: Flagged<'_>, features: impl FnOnce() -> Vec<TopFeature>) {
        // Beyond what JSON can hold; a score is a ratio, so such a one says nothing but "very".
        let row = Flagged { score: if row.score.is_finite() { row.score } else { f64::MAX }, ..row };
        let Some(key) = self.continued_by(&row) else { return self.begin(&row, features) };
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.restored_ms = None;
        let event = Arc::make_mut(&mut entry.event);
        let is_reopened = event.end_ms.take().is_some();
        let labels = || event.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let is_relabelled = !labels().eq(row.host.labels.iter());
        if is_relabelled {
            event.labels = labels_of(row.host);
        }
        event.ended = None;
        event.last_ms = event.last_ms.max(row.t_ms);
        event.score = row.score;
        let is_higher = row.score > event.peak_score;
        if is_higher {
            (event.peak_score, event.peak_ms, event.features) = (row.score, row.t_ms, features());
        }
        self.open.insert(key);
        self.n_turns += u64::from(is_reopened || is_relabelled);
        if is_reopened || is_relabelled || is_higher && row.t_ms.saturating_sub(entry.marked_ms) >= SAVE_EVERY_MS {
            entry.marked_ms = row.t_ms;
            self.unsaved.insert(key);
        }
    }

    /// The event that `row` goes on with: the flag has been up since, or rose again soon enough.
    fn continued_by(&mut self, row: &Flagged<'_>) -> Option<u64> {
        let key = *self.newest.get(row.host.name.as_ref())?;
        let entry = self.entries.get(&key)?;
        let event = &entry.event;
        let is_up_since = event.is_open() && row.since_ms <= event.last_ms;
        if is_up_since || row.t_ms.saturating_sub(event.until_ms()) <= self.merge_ms {
            return Some(key);
        }
        if event.is_open() {
            // Its end was not seen: there were no rows, or nobody to see them.
            let ending = if entry.restored_ms.is_some() { Ending::Restart } else { Ending::Stale };
            self.close(key, ending, event.last_ms);
        }
        None
    }

    /// A row without the flag, of a host that is judged.
    pub fn not_flagged(&mut self, host: &str, t_ms: TimestampMs, score: f64) {
        let Some(key) = self.open_of(host) else { return };
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let last_ms = entry.event.last_ms;
        if entry.restored_ms.is_some() && t_ms.saturating_sub(last_ms) > self.merge_ms {
            return self.close(key, Ending::Restart, last_ms);
        }
        Arc::make_mut(&mut entry.event).score = score;
        self.close(key, Ending::Cleared, t_ms.max(last_ms));
    }

    /// The host of the open event `id` is no longer judged.
    pub fn end(&mut self, id: &str, ending: Ending) {
        let open = self.by_id.get(id).filter(|key| self.open.contains(key));
        if let Some((key, entry)) = open.and_then(|key| Some((*key, self.entries.get(key)?))) {
            self.close(key, ending, entry.event.last_ms);
        }
    }

    /// The host is gone, or silenced.
    pub fn end_of_host(&mut self, host: &str, ending: Ending) {
        if let Some((key, entry)) = self.open_of(host).and_then(|key| Some((key, self.entries.get(&key)?))) {
            self.close(key, ending, entry.event.last_ms);
        }
    }

    /// The host of the open event `id` is not known, or not judged yet. Ends the event unless it was open before a restart: then its
    /// host has as long as flags are merged, by our clock.
    pub fn end_abandoned(&mut self, id: &str, ending: Ending, now_ms: TimestampMs) {
        let restored_ms = self.by_id.get(id).and_then(|key| self.entries.get(key)?.restored_ms);
        match restored_ms {
            None => self.end(id, ending),
            Some(restored_ms) if now_ms.saturating_sub(restored_ms) > self.merge_ms => self.end(id, Ending::Restart),
            Some(_) => {}
        }
    }

    /// Every event that is not over, in the order in which they began.
    #[must_use]
    pub fn open(&self) -> Vec<Arc<Event>> {
        self.open.iter().filter_map(|key| self.entries.get(key)).map(|entry| Arc::clone(&entry.event)).collect()
    }

    /// Number of events that are not over.
    #[must_use]
    pub fn n_open(&self) -> usize {
        self.open.len()
    }

    /// Begun, and dropped or not begun because there were too many, since this was made.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.n_begun, self.n_dropped)
    }

    /// Returns the number of times that an event began, began again or ended since this was made.
    #[must_use]
    pub fn n_turns(&self) -> u64 {
        self.n_turns
    }

    /// One event.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Event>> {
        self.by_id.get(id).and_then(|key| self.entries.get(key)).map(|entry| Arc::clone(&entry.event))
    }

    /// Counts the events that `filter` lets through, and gives `limit` of them after the first `offset`, last begun first.
    #[must_use]
    pub fn find(&self, filter: &Filter, limit: usize, offset: usize) -> (usize, Vec<Arc<Event>>) {
        let wanted = |event: &&Arc<Event>| filter.has(event);
        let found = || self.entries.values().rev().map(|entry| &entry.event).filter(wanted);
        (found().count(), found().skip(offset).take(limit).cloned().collect())
    }

    /// Every event, in the order in which they began; none is unsaved any more.
    #[must_use]
    pub fn take_all(&mut self) -> Vec<Arc<Event>> {
        self.unsaved.clear();
        self.entries.values().map(|entry| Arc::clone(&entry.event)).collect()
    }

    /// Takes the events that have changed since the last call.
    #[must_use]
    pub fn take_unsaved(&mut self) -> Vec<Arc<Event>> {
        let unsaved = std::mem::take(&mut self.unsaved);
        unsaved.iter().filter_map(|key| self.entries.get(key)).map(|entry| Arc::clone(&entry.event)).collect()
    }

    /// Whether something is to be stored.
    #[must_use]
    pub fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    fn open_of(&self, host: &str) -> Option<u64> {
        self.newest.get(host).copied().filter(|key| self.open.contains(key))
    }

    /// Not where every event that may be kept is open: they would take each other's place row by row, each time an end and a new
    /// alert. The flag begins one as soon as another's ends.
    fn begin(&mut self, row: &Flagged<'_>, features: impl FnOnce() -> Vec<TopFeature>) {
        if self.open.len() >= self.max {
            // Once per flag, not with each of its rows.
            self.n_dropped += u64::from(row.since_ms == row.t_ms);
            return;
        }
        self.n_begun += 1;
        self.n_turns += 1;
        let event = Event {
            id: id_of(row.host, row.t_ms),
            host: row.host.name.to_string(),
            labels: labels_of(row.host),
            model: row.model.to_owned(),
            start_ms: row.t_ms,
            end_ms: None,
            ended: None,
            last_ms: row.t_ms,
            score: row.score,
            peak_score: row.score,
            peak_ms: row.t_ms,
            features: features(),
        };
        let key = self.insert(event, None);
        self.unsaved.insert(key);
    }

    /// Adds an event as its host's newest; one of the same id is replaced.
    fn insert(&mut self, event: Event, restored_ms: Option<TimestampMs>) -> u64 {
        if let Some(key) = self.by_id.get(&event.id).copied() {
            self.remove(key);
        }
        while self.entries.len() >= self.max {
            let closed = self.entries.keys().find(|key| !self.open.contains(key));
            let Some(key) = closed.or(self.entries.keys().next()).copied() else { break };
            self.remove(key);
            self.n_dropped += 1;
        }
        let key = self.next;
        self.next += 1;
        self.by_id.insert(event.id.clone(), key);
        self.newest.insert(event.host.clone(), key);
        if event.is_open() {
            self.open.insert(key);
        }
        let entry = Entry { marked_ms: event.last_ms, event: Arc::new(event), restored_ms };
        self.entries.insert(key, entry);
        key
    }

    fn remove(&mut self, key: u64) {
        let Some(entry) = self.entries.remove(&key) else { return };
        self.by_id.remove(&entry.event.id);
        if self.newest.get(&entry.event.host) == Some(&key) {
            self.newest.remove(&entry.event.host);
        }
        self.open.remove(&key);
        self.unsaved.remove(&key);
    }

    fn close(&mut self, key: u64, ending: Ending, end_ms: TimestampMs) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.restored_ms = None;
        let event = Arc::make_mut(&mut entry.event);
        (event.end_ms, event.ended) = (Some(end_ms), Some(ending));
        self.n_turns += 1;
        self.open.remove(&key);
        self.unsaved.insert(key);
    }
}

fn labels_of(host: &HostId) -> BTreeMap<String, String> {
    host.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

impl Filter {
    fn has(&self, event: &Event) -> bool {
        self.host.as_ref().is_none_or(|host| *host == event.host)
            && self.is_open.is_none_or(|is_open| is_open == event.is_open())
            // An open event lasts.
            && self.since_ms.is_none_or(|since_ms| event.is_open() || event.until_ms() >= since_ms)
            && self.until_ms.is_none_or(|until_ms| event.start_ms <= until_ms)
    }
}

#[cfg(test)]
mod tests;
