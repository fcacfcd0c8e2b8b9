//! All that hosts of one pace share: which state serves which leaf, layouts, how windows are made.

use super::EngineConfig;
use super::layout::{Layout, Layouts, Series};
use super::pace::Pace;
use super::windows::WindowConfig;
use super::wiring::Wiring;

/// Paces of one engine. Intervals are few in practice; a sender that makes up more gets the nearest longer one.
const PACES_MAX: usize = 64;

/// All that hosts of one pace share.
#[derive(Debug)]
pub(super) struct Paced {
    pub(super) pace: Pace,
    /// Which state serves which leaf.
    pub(super) wiring: Wiring,
    pub(super) layouts: Layouts,
    /// Settings of the live model's windows, at this step.
    pub(super) windows: WindowConfig,
    /// The same of the shadow's.
    pub(super) shadow: Option<WindowConfig>,
    /// Longest span that any leaf reads, before the step.
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
    pub(super) fn layout(&mut self, series: Vec<Series>) -> std::sync::Arc<Layout> {
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
