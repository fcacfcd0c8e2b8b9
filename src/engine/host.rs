//! One host: its frames, its step clock, its rows.

use std::sync::Arc;

use super::counts::Event;
use super::discovery::selection_class;
use super::frames::{self, Frames, Inserted};
use super::layout::Layout;
use super::reconfigure::Change;
use super::row::{HostId, HostStatus, Missing, NotScored, Row, Treatment, Why};
use super::slots::Slots;
use super::windows::Windows;
use super::wiring::Wiring;
use super::{Output, Shared};
use crate::expr::eval::{EvalError, Evaluation, Vector};
use crate::expr::program::LeafId;
use crate::series::{Labels, Sample, TimestampMs};
use crate::silence::Silenced;

/// Everything that the engine keeps of one host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) id: Arc<HostId>,
    /// Labels that all its series have with the same value, the identity label among them: they tell no two apart.
    pub(super) shared_labels: Labels,
    /// See [`super::discovery::selection_class`].
    pub(super) selection_class: u64,
    pub(super) slots: Slots,
    frames: Frames,
    /// Newest timestamp of any sample.
    newest_ms: TimestampMs,
    /// When the newest sample came, on the caller's clock.
    arrived_ms: TimestampMs,
    /// Samples at or before this are late: their step may be closed.
    watermark_ms: TimestampMs,
    /// Time of the newest applied frame.
    applied_ms: TimestampMs,
    /// The next step to close; `None` before the first frame.
    next_step_ms: Option<TimestampMs>,
    windows: Windows,
    /// Those of the shadow's model.
    shadow: Option<Box<Windows>>,
    /// See [`HostStatus::missing`].
    missing: Box<[Missing]>,
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
        let empty = shared.layouts.intern(Vec::new(), &shared.wiring);
        let config = &shared.config;
        Self {
            selection_class: selection_class(&config.plan, &shared_labels),
            shared_labels,
            slots: Slots::new(empty, &shared.wiring),
            frames: Frames::default(),
            newest_ms: TimestampMs::MIN,
            arrived_ms: TimestampMs::MIN,
            watermark_ms: TimestampMs::MIN,
            applied_ms: TimestampMs::MIN,
            next_step_ms: None,
            windows: Windows::new(&config.windows),
            silences: shared.calendar.matching(&id.labels),
            silenced: None,
            shadow: config.shadow.as_ref().map(|config| Box::new(Windows::new(config))),
            missing: Box::default(),
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
        wirings: (&Wiring, &Wiring),
        (layout, new_slots): (Arc<Layout>, &[Option<u32>]),
        moved: &[Option<u16>],
        (begins, step_ms): (&[(u16, i64)], i64),
    ) {
        let since_ms = self.newest_ms.saturating_add(step_ms);
        let young = begins.iter().map(|(leaf, reach_ms)| (*leaf, since_ms.saturating_add(*reach_ms)));
        self.frames.renumber(new_slots);
        self.frames.expect(layout.len());
        self.slots.rewire(wirings, (layout, new_slots), moved, young);
    }

    /// Keeps of its windows what fits the new configuration.
    pub(super) fn reconfigure(&mut self, change: &Change<'_>) {
        self.missing = self.missing.iter().filter_map(|missing| change.missing(*missing)).collect();
        if change.is_step_new() {
            self.next_step_ms = self.next_step_ms.map(|next_ms| change.step_from(next_ms, self.slots.grid_ms));
        }
        let (live, shadow) = change.windows((&self.windows, self.shadow.as_deref()), self.applied_ms);
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
            out.counts.add(Event::Late, 1);
            return;
        }
        self.newest_ms = self.newest_ms.max(sample.t_ms);
        if self.frames.insert(sample.t_ms, slot, sample.value, now_ms, &mut shared.spare_frames) == Inserted::Duplicate
        {
            out.counts.add(Event::Duplicate, 1);
        }
        self.arrived_ms = self.arrived_ms.max(now_ms);
    }

    /// Applies the oldest frames early where more wait than may.
    pub(super) fn limit_frames(&mut self, shared: &mut Shared, out: &mut Output) {
        let limits = &shared.config.limits;
        let (n_frames, n_cells) = (limits.frames_per_host, limits.samples_per_host);
        while self.frames.len() > n_frames || self.frames.len() > 1 && self.frames.n_cells() > n_cells {
            out.counts.add(Event::FramesPerHost, 1);
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
        if until_ms > self.watermark_ms {
            self.advance_to(until_ms, shared, out);
        }
    }

    fn advance_to(&mut self, until_ms: TimestampMs, shared: &mut Shared, out: &mut Output) {
        self.watermark_ms = until_ms;
        while let Some(oldest_ms) = self.frames.oldest_ms().filter(|t_ms| *t_ms <= until_ms) {
            // Before the frame is taken: closing a step may renumber the series of every pending frame.
            self.close_before_frame(oldest_ms, shared, out);
            let Some(frame) = self.frames.take() else { break };
            self.applied_ms = oldest_ms;
            let may_grow = self.slots.n_samples() < shared.config.limits.samples_per_host;
            if !may_grow {
                out.counts.add(Event::SamplesPerHost, 1);
            }
            self.slots.apply(frame.view(), &shared.wiring, may_grow, &mut shared.clock_scratch);
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
            .is_some_and(|next| self.gap_rows(next, t_ms, shared) > shared.config.windows.window_rows as i64)
    }

    fn gap_rows(&self, next_step_ms: TimestampMs, t_ms: TimestampMs, shared: &Shared) -> i64 {
        t_ms.saturating_sub(next_step_ms) / shared.config.step_ms
    }

    /// Closes the steps before `t_ms`, where all samples before `t_ms` are applied.
    fn close_before(&mut self, t_ms: TimestampMs, shared: &mut Shared, out: &mut Output) {
        while let Some(next_ms) = self.next_step_ms.filter(|next_ms| *next_ms < t_ms) {
            self.close_step(next_ms, shared, out);
            self.next_step_ms = Some(next_ms.saturating_add(shared.config.step_ms));
        }
    }

    /// The first step at or after `t_ms`, a frame after a long gap or the first one of all, which starts the grid.
    fn first_step_from(&mut self, t_ms: TimestampMs, shared: &Shared) -> TimestampMs {
        let config = &shared.config;
        if self.next_step_ms.is_none() {
            self.slots.grid_ms = t_ms;
            return t_ms;
        }
        if t_ms.saturating_sub(self.applied_ms) > config.plan.range_ms_max {
            self.slots.forget_samples(&shared.wiring);
        }
        let since_ms = t_ms.saturating_sub(self.slots.grid_ms);
        t_ms.saturating_add((-since_ms).rem_euclid(config.step_ms))
    }

    /// Closes the steps before the next frame; after a long gap the steps in it are skipped.
    fn close_before_frame(&mut self, t_ms: TimestampMs, shared: &mut Shared, out: &mut Output) {
        match self.next_step_ms {
            Some(_) if !self.is_long_gap(t_ms, shared) => self.close_before(t_ms, shared, out),
            skipped_from => {
                let n_skipped = skipped_from.map_or(0, |next_ms| self.gap_rows(next_ms, t_ms, shared));
                out.counts.add(Event::StepSkipped, n_skipped as u64);
                self.clear_windows();
                self.next_step_ms = Some(self.first_step_from(t_ms, shared));
            }
        }
    }

    fn close_step(&mut self, t_ms: TimestampMs, shared: &mut Shared, out: &mut Output) {
        let n_errors = out.feature_errors.len();
        let values = self.evaluate(t_ms, shared, out);
        let treatment = self.treatment(t_ms, shared);
        let window = self.windows.push_as(treatment, t_ms, &values, &shared.config.windows);
        self.missing = missing(&values, &out.feature_errors[n_errors..], shared);
        self.not_scored = window.as_ref().err().copied();
        let shadow = self.shadow.as_mut().zip(shared.config.shadow.as_ref());
        let shadow = shadow.and_then(|(windows, config)| windows.push_as(treatment, t_ms, &values, config).ok());
        out.counts.add(Event::RowClosed, 1);
        let (host, history_ms) = (Arc::clone(&self.id), self.history_ms(shared));
        out.rows.push(Row { host, t_ms, values: values.into(), history_ms, window: window.ok(), shadow, treatment });
        self.expire_series(t_ms, shared);
    }

    /// What the row of the step may cause.
    fn treatment(&mut self, t_ms: TimestampMs, shared: &mut Shared) -> Treatment {
        self.silenced = shared.calendar.active(&self.silences, t_ms).map(Arc::new);
        if self.silenced.is_some() {
            Treatment::Silenced
        } else if shared.now_ms.saturating_sub(t_ms) > shared.config.max_lag_ms {
            Treatment::Backlog
        } else {
            Treatment::Full
        }
    }

    /// The silences have changed.
    pub(super) fn match_silences(&mut self, shared: &Shared) {
        self.silences = shared.calendar.matching(&self.id.labels);
    }

    /// One value per configured feature; NaN where it has none or no finite one.
    fn evaluate(&mut self, t_ms: TimestampMs, shared: &mut Shared, out: &mut Output) -> Vec<f64> {
        let plan = Arc::clone(&shared.config.plan);
        let (vectors, scratch) = ((&mut shared.leaf_vectors, &mut shared.incomplete_leaves), &mut shared.clock_scratch);
        self.slots.evaluate(&shared.wiring, plan.lookback_ms, t_ms, vectors, scratch);
        let mut evaluation = Evaluation {
            t_ms,
            leaves: &shared.leaf_vectors,
            incomplete: &shared.incomplete_leaves,
            shared_labels: &self.shared_labels,
            sets: &mut shared.sets,
            spare: &mut shared.spare_vectors,
        };
        let features = (0..).zip(&plan.features);
        let value = |(feature, node)| match evaluation.value(node) {
            Ok(value) => value.filter(|v| v.is_finite()).unwrap_or(f64::NAN),
            Err(error) => {
                out.feature_errors.push((feature, error));
                f64::NAN
            }
        };
        features.map(value).collect()
    }

    /// Forgets series that can no longer be seen by any leaf; looked for once per lookback, since it costs a pass.
    fn expire_series(&mut self, t_ms: TimestampMs, shared: &mut Shared) {
        let config = &shared.config;
        self.steps_since_expiry += 1;
        if self.steps_since_expiry * config.step_ms < config.plan.lookback_ms {
            return;
        }
        self.steps_since_expiry = 0;
        let live = self.slots.live_slots(t_ms, |slot| self.frames.has(slot));
        if let Some(new_slots) = live {
            let kept = self.slots.layout.series.iter().zip(&new_slots).filter(|(_, new)| new.is_some());
            let series = kept.map(|(series, _)| series.clone()).collect();
            self.frames.renumber(&new_slots);
            self.move_to(shared.layouts.intern(series, &shared.wiring), &new_slots);
        }
    }

    /// Event time from its first to its newest closed row, less the gaps that emptied the window.
    fn history_ms(&self, shared: &Shared) -> i64 {
        i64::from(self.windows.n_rows().saturating_sub(1)).saturating_mul(shared.config.step_ms)
    }

    /// What is known of the host now.
    pub(super) fn status(&self, shared: &Shared) -> HostStatus {
        let window_rows = match self.not_scored {
            Some(NotScored::TooFewRows) => self.windows.n_present(),
            _ => self.windows.len(),
        };
        HostStatus {
            host: Arc::clone(&self.id),
            last_sample_ms: self.newest_ms,
            up: self.slots.up(self.newest_ms, shared.config.plan.lookback_ms),
            window_rows: u32::try_from(window_rows).unwrap_or(u32::MAX),
            history_ms: self.history_ms(shared),
            missing: self.missing.clone(),
            not_scored: self.not_scored,
            silenced: self.silenced.clone(),
        }
    }
}

/// The features without a value in the row just evaluated.
fn missing(values: &[f64], errors: &[(u16, EvalError)], shared: &Shared) -> Box<[Missing]> {
    let is_empty = |leaf: &&LeafId| shared.leaf_vectors.get(usize::from(**leaf)).is_none_or(Vector::is_empty);
    let why = |feature: u16| {
        if let Some((_, error)) = errors.iter().find(|(failed, _)| *failed == feature) {
            return Why::Error(*error);
        }
        let leaves = shared.config.plan.leaves_of.get(usize::from(feature));
        leaves.and_then(|leaves| leaves.iter().find(is_empty)).map_or(Why::NoValue, |leaf| Why::Unmatched(*leaf))
    };
    let without = (0..).zip(values).filter(|(_, value)| value.is_nan());
    without.map(|(feature, _)| Missing { feature, why: why(feature) }).collect()
}
