//! What follows from how often a host is scraped: how far apart its rows are, how far `[$range]` and the lookback reach; and all
//! that hosts of one pace share.

use super::layout::Layouts;
use super::windows::WindowConfig;
use super::wiring::Wiring;
use super::{EngineConfig, layout};
use crate::expr::plan::Spans;

/// Rows are as far apart as scrapes where those are at least 7/5 of a step apart: nearer ones are taken for jitter.
const STEP_RATIO: (i64, i64) = (7, 5);
/// Paces of one engine. Intervals are few in practice; a sender that makes up more gets the nearest longer one.
const PACES_MAX: usize = 64;

/// What follows from a scrape interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// How far apart rows are.
    pub(super) step_ms: i64,
    /// How far back leaves read whose expression doesn't say.
    pub(super) spans: Spans,
}

impl Pace {
    /// That of scrapes `interval_ms` apart; where that is not known, they are taken to be as far apart as rows.
    pub(super) fn new(interval_ms: Option<i64>, config: &EngineConfig) -> Self {
        let interval_ms = interval_ms.unwrap_or(config.step_ms);
        let (more, than) = STEP_RATIO;
        let is_slow = interval_ms.saturating_mul(than) >= config.step_ms.saturating_mul(more);
        Self {
            step_ms: if is_slow { interval_ms } else { config.step_ms },
            spans: Spans::of_scrapes(interval_ms, config.plan.lookback_ms),
        }
    }
}

/// All that hosts of one pace share.
#[derive(Debug)]
pub(super) struct Paced {
    pub(super) pace: Pace,
    /// Which state serves which leaf.
    pub(super) wiring: Wiring,
    pub(super) layouts: Layouts,
    /// What windows of the live model are made with, at this step.
    pub(super) windows: WindowConfig,
    /// The same of the shadow's.
    pub(super) shadow: Option<WindowConfig>,
    /// How far back any leaf reads.
    pub(super) reach_ms_max: i64,
}

impl Paced {
    fn new(pace: Pace, config: &EngineConfig) -> Self {
        Self {
            pace,
            wiring: Wiring::new(&config.plan, pace, config.limits.series_per_host),
            layouts: Layouts::default(),
            windows: config.windows.at_step(config.step_ms, pace.step_ms),
            shadow: config.shadow.as_ref().map(|shadow| shadow.at_step(config.step_ms, pace.step_ms)),
            reach_ms_max: config.plan.reach_ms_max(pace.spans),
        }
    }

    /// The layout of `series`.
    pub(super) fn layout(&mut self, series: Vec<layout::Series>) -> std::sync::Arc<layout::Layout> {
        self.layouts.intern(series, &self.wiring)
    }
}

/// The paces of an engine's hosts; a host knows its own by its number.
#[derive(Debug)]
pub(super) struct Paces {
    /// The first is that of a host whose interval is not known yet.
    all: Vec<Paced>,
}

impl Paces {
    pub(super) fn new(config: &EngineConfig) -> Self {
        Self { all: vec![Paced::new(Pace::new(config.interval_ms, config), config)] }
    }

    /// The number of the pace of scrapes `interval_ms` apart.
    pub(super) fn number(&mut self, interval_ms: Option<i64>, config: &EngineConfig) -> usize {
        let pace = Pace::new(config.interval_ms.or(interval_ms), config);
        if let Some(known) = self.all.iter().position(|paced| paced.pace == pace) {
            return known;
        }
        if self.all.len() < PACES_MAX {
            self.all.push(Paced::new(pace, config));
            return self.all.len() - 1;
        }
        let range_ms = |i: &usize| self.all[*i].pace.spans.range_ms;
        let longer = (0..self.all.len()).filter(|i| range_ms(i) >= pace.spans.range_ms).min_by_key(range_ms);
        longer.or_else(|| (0..self.all.len()).max_by_key(range_ms)).unwrap_or(0)
    }

    /// Every pace, by its number.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Paced> {
        self.all.iter_mut()
    }
}

impl std::ops::Index<usize> for Paces {
    type Output = Paced;

    fn index(&self, number: usize) -> &Paced {
        &self.all[number]
    }
}

impl std::ops::IndexMut<usize> for Paces {
    fn index_mut(&mut self, number: usize) -> &mut Paced {
        &mut self.all[number]
    }
}
