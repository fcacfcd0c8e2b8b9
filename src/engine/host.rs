//! One host: its frames, its step clock, its rows.

use std::sync::Arc;

use super::applicable::{Applicable, Lacking};
use super::change::Change;
use super::counts::EngineCounter;
use super::frames::{self, Frames, Inserted, REPEAT_MS};
use super::from_to::FromTo;
use super::interval::Watch;
use super::layout::Layout;
use super::new_series::{NewSeries, SenderKey};
use super::pace::first_step_from;
use super::paces::Paced;
use super::row::{AlertEligibility, HostId, HostStatus, NotScored, Row};
use super::selection::selection_class;
use super::senders::{Hearing, Said, Senders};
use super::slots::Slots;
use super::suspects::Suspects;
use super::targets::{Moment, Targets};
use super::twins::Twins;
use super::windows::Windows;
use super::wiring::Wiring;
use super::{Output, Shared};
use crate::config::silence::Silenced;
use crate::series::{Labels, Sample, TimestampMs};

/// Everything that the engine keeps of one host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) id: Arc<HostId>,
    /// Labels that all its series have with the same value, the identity label among them: they tell no two apart.
    pub(super) shared_labels: Labels,
    /// See [`super::selection::selection_class`].
    pub(super) selection_class: u64,
    pub(super) slots: Slots,
    /// Scrape interval; `None` where its samples don't tell yet, or the configuration says it.
    pub(super) interval_ms: Option<i64>,
    /// The number of its pace.
    pub(super) pace: usize,
    /// Number of settled frames that have been looked at for the interval: they wait until they tell it. `None` once they have,
    /// or where the configuration says it.
    pub(super) frames_seen: Option<usize>,
    /// From then on; `None` where the configuration says the interval.
    pub(super) watch: Option<Watch>,
    /// Senders that write it.
    pub(super) senders: Senders,
    /// Targets that it is scraped from.
    targets: Targets,
    /// Series that two senders write at once.
    pub(super) twins: Option<Twins>,
    pub(super) frames: Frames,
    /// Newest timestamp of any sample.
    newest_ms: TimestampMs,
    /// When the newest sample came, on the caller's clock.
    arrived_ms: TimestampMs,
    /// Samples at or before this are late: their step may be closed.
    watermark_ms: TimestampMs,
    /// Time of the newest applied frame.
    pub(super) applied_ms: TimestampMs,
    /// The next step to close; `None` before the first frame.
    pub(super) next_step_ms: Option<TimestampMs>,
    pub(super) windows: Windows,
    /// Those of the shadow's model.
    pub(super) shadow: Option<Box<Windows>>,
    /// Which features it has.
    applicable: Applicable,
    /// See [`HostStatus::missing`] and [`HostStatus::not_applicable`].
    lacking: Lacking,
    /// Features that have been out of bounds.
    pub(super) suspects: Suspects,
    not_scored: Option<NotScored>,
    /// Places in the calendar of the silences that are for this host.
    silences: Box<[u16]>,
    /// The silence that the newest closed row fell into.
    silenced: Option<Arc<Silenced>>,
    /// Steps closed since series were last looked through for silent ones.
    steps_since_expiry: i64,
    /// Whether the running `apply` has met this host already.
    pub(super) is_touched: bool,
}

impl Host {
    /// A host without series; `shared_labels` are those that all its series are expected to have.
    pub(super) fn new(id: Arc<HostId>, shared_labels: Labels, shared: &mut Shared) -> Self {
        let pace = shared.paces.number(None, &shared.config);
        let paced = &mut shared.paces[pace];
        let empty = paced.layout(Vec::new());
        let config = &shared.config;
        Self {
            selection_class: selection_class(&config.plan, &shared_labels),
            shared_labels,
            slots: Slots::new(empty, &paced.wiring),
            interval_ms: None,
            pace,
            frames_seen: config.interval_ms.is_none().then_some(0),
            watch: None,
            senders: Senders::default(),
            targets: Targets::default(),
            twins: None,
            frames: Frames::default(),
            newest_ms: TimestampMs::MIN,
            arrived_ms: TimestampMs::MIN,
            watermark_ms: TimestampMs::MIN,
            applied_ms: TimestampMs::MIN,
            next_step_ms: None,
            windows: Windows::new(&paced.windows),
            silences: shared.calendar.matching(&id.labels),
            silenced: None,
            shadow: paced.shadow.as_ref().map(|config| Box::new(Windows::new(config))),
            applicable: Applicable::new(config.plan.features.len()),
            lacking: Lacking::default(),
            suspects: Suspects::default(),
            id,
            not_scored: Some(NotScored::TooFewRows),
            steps_since_expiry: 0,
            is_touched: false,
        }
    }

    /// When its newest sample came, on the caller's clock.
    pub(super) fn arrived_ms(&self) -> TimestampMs {
        self.arrived_ms
    }

    /// Renumbers the slots of all frames that it holds, and of the series that it watches.
    fn renumber_frames(&mut self, new_slots: &[Option<u32>]) {
        self.frames.renumber(new_slots);
        if let Some(watch) = &mut self.watch {
            watch.slot = watch.slot.and_then(|slot| new_slots.get(slot as usize).copied().flatten());
        }
    }

    /// Looks who its senders are, once its series have changed.
    pub(super) fn find_senders(&mut self, shared: &Shared) {
        self.senders.assign(&self.slots.layout, &self.shared_labels, &shared.sets);
        self.twins = Twins::find(&self.slots.layout, &shared.sets);
    }

    /// The labels in which senders differ of which both were heard since two scrapes.
    fn live_twins(&self, shared: &Shared) -> Option<Arc<str>> {
        let twins = self.twins.as_ref()?;
        let interval_ms = self.interval_ms(shared)?;
        let age_ms = interval_ms.saturating_mul(2);
        // As of what was applied: newer samples still wait.
        let is_live = |slot: &u32| self.slots.is_live(*slot, self.applied_ms, age_ms);
        twins.slots.iter().all(is_live).then(|| Arc::clone(&twins.labels))
    }

    /// Has other series from now on; `new_slots` has the new slot of each old one.
    pub(super) fn move_to(&mut self, layout: Arc<Layout>, new_slots: &[Option<u32>]) {
        self.frames.expect(layout.len());
        self.slots.move_to(layout, new_slots);
    }

    /// Serves another wiring from now on; `new_slots` is as in [`Host::move_to`], `moved` has the new one of each old leaf, and
    /// `begins` those that begin now with what they read back. Whatever is on the way may have been filtered for the old leaves,
    /// hence a step more.
    pub(super) fn rewire(
        &mut self,
        wirings: FromTo<&Wiring>,
        layout: Arc<Layout>,
        new_slots: &[Option<u32>],
        moved: &[Option<u16>],
        begins: &[(u16, i64)],
        step_ms: i64,
    ) {
        let since_ms = self.newest_ms.saturating_add(step_ms);
        let young = begins.iter().map(|(leaf, reach_ms)| (*leaf, since_ms.saturating_add(*reach_ms)));
        self.renumber_frames(new_slots);
        self.frames.expect(layout.len());
        self.slots.rewire(wirings, layout, new_slots, moved, young);
    }

    /// Goes on at the pace with the number `pace`, and keeps of its windows what fits the new configuration, which says how often
    /// hosts are scraped with `interval_ms`.
    pub(super) fn reconfigure(&mut self, change: &Change<'_>, pace: usize, interval_ms: Option<i64>) {
        self.pace = pace;
        if interval_ms.is_some() {
            (self.frames_seen, self.watch) = (None, None);
        } else if self.frames_seen.is_none() && self.watch.is_none() {
            self.watch = Some(Watch::new(None));
        }
        self.targets.forget_layout();
        self.applicable = change.applicable(&self.applicable);
        self.lacking = change.lacking(&self.lacking);
        self.suspects = self.suspects.changed(change);
        if change.is_step_new() {
            self.next_step_ms = self.next_step_ms.map(|next_ms| change.step_from(next_ms, self.slots.grid_ms));
        }
        let (live, shadow) = change.windows(&self.windows, self.shadow.as_deref(), self.applied_ms);
        if let Some(live) = live {
            self.windows = live;
        }
        if let Some(shadow) = shadow {
            self.shadow = shadow.map(Box::new);
        }
    }

    fn clear_windows(&mut self) {
        self.windows.clear();
        if let Some(shadow) = &mut self.shadow {
            shadow.clear();
        }
    }

    /// Whether every one of `samples` would come too late.
    pub(super) fn is_late(&self, samples: &[Sample]) -> bool {
        samples.iter().all(|sample| sample.t_ms <= self.watermark_ms)
    }

    /// Whether `sender` is heard, which says `samples` of the series in `slot`.
    #[inline]
    pub(super) fn hear(
        &mut self,
        slot: u32,
        sender: SenderKey,
        samples: &[Sample],
        shared: &Shared,
        out: &mut Output,
    ) -> bool {
        let said = Said { sender, samples, is_up: false, now_ms: shared.now_ms };
        if self.senders.is_heard(slot, said) {
            return true;
        }
        let said = Said { is_up: self.slots.is_up(slot), ..said };
        let hearing = self.senders.contest(slot, said, self.interval_ms(shared), &shared.sender_names);
        count_hearing(hearing, samples, out)
    }

    /// The same of a series that the host doesn't know; `run` are the series that came with it.
    pub(super) fn hear_new(
        &mut self,
        found: &NewSeries<'_>,
        run: &[NewSeries<'_>],
        shared: &Shared,
        out: &mut Output,
    ) -> bool {
        let interval_ms = self.interval_ms(shared);
        let hearing = self.senders.hear_new(found, run, interval_ms, shared.now_ms, &shared.sender_names);
        count_hearing(hearing, found.samples, out)
    }

    /// Puts a sample into its frame, where it waits for its lateness to pass.
    pub(super) fn insert(
        &mut self,
        slot: u32,
        sample: Sample,
        now_ms: TimestampMs,
        shared: &mut Shared,
        out: &mut Output,
    ) {
        if sample.t_ms <= self.watermark_ms {
            out.counts.add(EngineCounter::Late, 1);
            return;
        }
        self.newest_ms = self.newest_ms.max(sample.t_ms);
        if self.frames.insert(sample.t_ms, slot, sample.value, now_ms, &mut shared.spare_frames) == Inserted::Duplicate
        {
            out.counts.add(EngineCounter::Duplicate, 1);
        }
        self.arrived_ms = self.arrived_ms.max(now_ms);
    }

    /// Applies the oldest frames early where more wait than may.
    pub(super) fn limit_frames(&mut self, shared: &mut Shared, out: &mut Output) {
        let limits = &shared.config.limits;
        let (n_frames, n_cells) = (limits.frames_per_host, limits.samples_per_host);
        while self.frames.len() > n_frames || self.frames.len() > 1 && self.frames.n_cells() > n_cells {
            out.counts.add(EngineCounter::FramesPerHost, 1);
            if self.frames_seen.take().is_some() {
                self.watch = Some(Watch::new(None));
            }
            let Some(oldest_ms) = self.frames.oldest_ms() else { return };
            self.advance_to(oldest_ms, shared, out);
        }
    }

    /// Whether a frame waits that [`Host::advance`] would apply at `now_ms`.
    pub(super) fn is_due(&self, now_ms: TimestampMs, lateness_ms: i64) -> bool {
        self.frames.settled_ms(now_ms, lateness_ms).is_some()
    }

    /// Applies every frame whose lateness has passed, in event time or since it came, and closes the steps that this completes.
    pub(super) fn advance(&mut self, now_ms: TimestampMs, shared: &mut Shared, out: &mut Output) {
        let lateness_ms = shared.config.lateness_ms;
        // A frame from the future waits until its time has come: one bad clock must not close the steps of a host.
        let by_event_time = self.newest_ms.min(now_ms).saturating_sub(lateness_ms).saturating_sub(1);
        let by_arrival = self.frames.settled_ms(now_ms, lateness_ms).unwrap_or(TimestampMs::MIN);
        let until_ms = by_event_time.max(by_arrival);
        if until_ms > self.watermark_ms && self.is_interval_told(until_ms, now_ms, shared) {
            self.advance_to(until_ms, shared, out);
        }
    }

    fn advance_to(&mut self, until_ms: TimestampMs, shared: &mut Shared, out: &mut Output) {
        self.watermark_ms = until_ms;
        while let Some(oldest_ms) = self.frames.oldest_ms().filter(|t_ms| *t_ms <= until_ms) {
            // Before the frame is taken: closing a step may renumber the series of every pending frame.
            self.close_before_frame(oldest_ms, shared, out);
            let Some(mut frame) = self.frames.take() else { break };
            if oldest_ms.saturating_sub(self.applied_ms) < REPEAT_MS {
                let n = frame.drop_numbers(|slot| self.slots.is_live(slot, oldest_ms, REPEAT_MS));
                out.counts.add(EngineCounter::Duplicate, n);
            }
            self.applied_ms = oldest_ms;
            let may_grow = self.slots.n_samples() < shared.config.limits.samples_per_host;
            if !may_grow {
                out.counts.add(EngineCounter::SamplesPerHost, 1);
            }
            let wiring = &shared.paces[self.pace].wiring;
            self.slots.apply(frame.view(), wiring, may_grow, &mut shared.clock_scratch);
            self.watch_interval(&frame, shared);
            frames::recycle(frame, &mut shared.spare_frames);
            self.close_before(self.applied_ms.saturating_add(1), shared, out);
        }
        // Beyond the newest frame a step is closed only if the gap that it lies in is known to be short, so that how often
        // this is called makes no difference.
        let known_ms = match self.frames.oldest_ms() {
            Some(next_frame_ms) if self.is_long_gap(next_frame_ms, shared) => self.applied_ms,
            Some(_) | None => until_ms,
        };
        self.close_before(known_ms.saturating_add(1), shared, out);
    }

    /// Whether a frame at `t_ms` would come so late that nothing of the window is left.
    fn is_long_gap(&self, t_ms: TimestampMs, shared: &Shared) -> bool {
        self.next_step_ms
            .is_some_and(|next| self.gap_rows(next, t_ms, shared) > self.paced(shared).windows.window_rows as i64)
    }

    fn gap_rows(&self, next_step_ms: TimestampMs, t_ms: TimestampMs, shared: &Shared) -> i64 {
        t_ms.saturating_sub(next_step_ms) / self.step_ms(shared)
    }

    pub(super) fn paced<'a>(&self, shared: &'a Shared) -> &'a Paced {
        &shared.paces[self.pace]
    }

    /// Returns its scrape interval, as the configuration says or its samples; `None` where neither does.
    pub(super) fn interval_ms(&self, shared: &Shared) -> Option<i64> {
        shared.config.interval_ms.or(self.interval_ms)
    }

    fn step_ms(&self, shared: &Shared) -> i64 {
        self.paced(shared).pace.step_ms
    }

    /// Closes the steps before `t_ms`, where all samples before `t_ms` are applied.
    fn close_before(&mut self, t_ms: TimestampMs, shared: &mut Shared, out: &mut Output) {
        while let Some(next_ms) = self.next_step_ms.filter(|next_ms| *next_ms < t_ms) {
            self.close_step(next_ms, shared, out);
            self.next_step_ms = Some(next_ms.saturating_add(self.step_ms(shared)));
        }
    }

    /// The first step at or after `t_ms`, a frame after a long gap or the first one of all, which starts the grid.
    fn first_step_from(&mut self, t_ms: TimestampMs, shared: &Shared) -> TimestampMs {
        let paced = self.paced(shared);
        if self.next_step_ms.is_none() {
            self.slots.grid_ms = t_ms;
            return t_ms;
        }
        if t_ms.saturating_sub(self.applied_ms) > paced.reach_ms_max {
            self.slots.forget_samples(&paced.wiring);
        }
        first_step_from(t_ms, self.slots.grid_ms, paced.pace.step_ms)
    }

    /// Closes the steps before the next frame; after a long gap the steps in it are skipped.
    fn close_before_frame(&mut self, t_ms: TimestampMs, shared: &mut Shared, out: &mut Output) {
        match self.next_step_ms {
            Some(_) if !self.is_long_gap(t_ms, shared) => self.close_before(t_ms, shared, out),
            skipped_from => {
                let n_skipped = skipped_from.map_or(0, |next_ms| self.gap_rows(next_ms, t_ms, shared));
                out.counts.add(EngineCounter::StepSkipped, n_skipped as u64);
                self.clear_windows();
                self.next_step_ms = Some(self.first_step_from(t_ms, shared));
            }
        }
    }

    fn close_step(&mut self, t_ms: TimestampMs, shared: &mut Shared, out: &mut Output) {
        let n_errors = out.feature_errors.len();
        let values = self.evaluate(t_ms, shared, out);
        self.see_targets(Some(t_ms), shared);
        let eligibility = self.eligibility(t_ms, shared);
        let paced = &shared.paces[self.pace];
        let without = self.without(t_ms, &values, &out.feature_errors[n_errors..], shared);
        self.watch_slow(&without, t_ms, shared);
        self.applicable.observe(&values, &without, paced.pace.step_ms);
        let window = self.windows.push_as(eligibility, t_ms, &values, &self.applicable, &paced.windows);
        let window_ms = (paced.windows.window_rows as i64).saturating_sub(1).saturating_mul(paced.pace.step_ms);
        let (plan, history_ms) = (&shared.config.plan, self.history_ms(shared));
        self.lacking = self.applicable.part(without, plan, paced.pace.spans, history_ms, window_ms);
        self.not_scored = window.as_ref().err().copied();
        let shadow = self.shadow.as_mut().zip(paced.shadow.as_ref());
        let has = &self.applicable;
        let shadow = shadow.and_then(|(windows, config)| windows.push_as(eligibility, t_ms, &values, has, config).ok());
        out.counts.add(EngineCounter::RowClosed, 1);
        let (host, step_ms) = (Arc::clone(&self.id), paced.pace.step_ms);
        let (values, window) = (values.into(), window.ok());
        out.rows.push(Row { host, t_ms, step_ms, values, window, shadow, eligibility });
        self.expire_series(t_ms, shared);
    }

    /// Returns what the row of the step may cause.
    fn eligibility(&mut self, t_ms: TimestampMs, shared: &mut Shared) -> AlertEligibility {
        self.silenced = shared.calendar.active(&self.silences, t_ms).map(Arc::new);
        if self.silenced.is_some() {
            AlertEligibility::Silenced
        } else if shared.now_ms.saturating_sub(t_ms) > shared.config.max_lag_ms {
            AlertEligibility::Backlog
        } else if i64::from(self.windows.n_rows()).saturating_mul(self.step_ms(shared)) < shared.config.min_history_ms {
            AlertEligibility::Young
        } else {
            AlertEligibility::Full
        }
    }

    /// Looks at whom the host is scraped from: where its series have changed, and with each row, which is of `row_ms`.
    fn see_targets(&mut self, row_ms: Option<TimestampMs>, shared: &mut Shared) {
        let (config, layout) = (&shared.config, &self.slots.layout);
        let has_changed = self.targets.refresh(layout, &self.shared_labels, &mut shared.sets, config);
        let is_first = self.next_step_ms.is_none();
        if row_ms.is_none() && !(has_changed && is_first) {
            return;
        }
        let at = row_ms.map(|t_ms| Moment { t_ms, age_ms: self.paced(shared).pace.spans.lookback_ms });
        self.targets.count(&self.slots, at, &shared.scored_leaves);
        if let Some(at) = at {
            self.targets.remember(&self.slots, at);
        }
        if let Some(labels) = self.targets.labels().filter(|labels| **labels != self.id.labels) {
            self.id = Arc::new(HostId { name: self.id.name.clone(), labels: labels.into_owned() });
            self.match_silences(shared);
        }
    }

    /// The silences have changed.
    pub(super) fn match_silences(&mut self, shared: &Shared) {
        self.silences = shared.calendar.matching(&self.id.labels);
    }

    /// Forgets series that can no longer be seen by any leaf; looked for once per lookback, since it costs a pass.
    fn expire_series(&mut self, t_ms: TimestampMs, shared: &mut Shared) {
        let pace = self.paced(shared).pace;
        self.steps_since_expiry += 1;
        if self.steps_since_expiry * pace.step_ms < pace.spans.lookback_ms {
            return;
        }
        self.steps_since_expiry = 0;
        let live = self.slots.live_slots(t_ms, |slot| self.frames.has(slot));
        if let Some(new_slots) = live {
            let kept = self.slots.layout.series.iter().zip(&new_slots).filter(|(_, new)| new.is_some());
            let series = kept.map(|(series, _)| series.clone()).collect();
            self.renumber_frames(&new_slots);
            self.move_to(shared.paces[self.pace].layout(series), &new_slots);
            self.find_senders(shared);
        }
    }

    /// Event time from its first to its newest closed row, less the gaps that emptied the window.
    fn history_ms(&self, shared: &Shared) -> i64 {
        i64::from(self.windows.n_rows().saturating_sub(1)).saturating_mul(self.step_ms(shared))
    }

    /// Returns what is known of the host now.
    pub(super) fn status(&mut self, shared: &mut Shared) -> HostStatus {
        self.see_targets(None, shared);
        let now = Moment { t_ms: self.newest_ms, age_ms: self.paced(shared).pace.spans.lookback_ms };
        let window_rows = match self.not_scored {
            Some(NotScored::TooFewRows) => self.windows.n_present(),
            _ => self.windows.len(),
        };
        HostStatus {
            host: Arc::clone(&self.id),
            last_sample_ms: self.newest_ms,
            step_ms: self.step_ms(shared),
            interval_ms: self.interval_ms(shared),
            twin_labels: self.live_twins(shared),
            senders: self.senders.shown(),
            up: self.targets.up(&self.slots, now),
            window_rows: u32::try_from(window_rows).unwrap_or(u32::MAX),
            history_ms: self.history_ms(shared),
            missing: self.lacking.missing.clone(),
            not_applicable: self.lacking.not_applicable.clone(),
            not_scored: self.not_scored,
            silenced: self.silenced.clone(),
        }
    }
}

/// Counts what is not heard; whether it is.
fn count_hearing(hearing: Hearing, samples: &[Sample], out: &mut Output) -> bool {
    match hearing {
        Hearing::Heard => {}
        Hearing::Elected => out.counts.add(EngineCounter::SenderChange, 1),
        Hearing::Refused => out.counts.add(EngineCounter::Replica, samples.len() as u64),
    }
    hearing != Hearing::Refused
}
