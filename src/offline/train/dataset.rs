//! The standardised rows of all hosts, held compactly.
//!
//! Rows come as the engine closes them and are standardised by the engine's own [`Windows`], so that training sees what the service
//! sees. A cell is an i16 in units of the target clip / 32767: at a clip of 20 within 0.0003 deviations. 200 hosts × 14 d × 1,440 rows
//! × 56 features × 2 bytes are 452 MB, and while the rows come at most a day's more for each host (32 MB); the raw values are never kept.

use std::collections::HashMap;
use std::ops::Range;

use crate::base::bounds::Bounds;
use crate::base::fnv::Fnv;
use crate::engine::ScoredFeature;
use crate::engine::standardise::Constants;
use crate::engine::window::{cell_of, value_of};
use crate::engine::windows::{WindowConfig, Windows};
use crate::model::manifest::{INPUT_CLIP, TARGET_CLIP};
use crate::series::TimestampMs;

/// Rows for which room is made at once, so that memory follows what is there.
const GROWTH_ROWS: usize = 1_440;

/// Scale that rows are standardised with.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// Step, in milliseconds.
    pub step_ms: i64,
    /// Standardised inputs are clipped to ± this.
    pub input_clip: f32,
    /// Standardised targets are clipped to ± this.
    pub target_clip: f32,
    /// Of the running statistics.
    pub constants: Constants,
}

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Of the configuration, such as `cpu_busy`.
    pub name: String,
    /// PromQL; `None` where the rows did not come from samples.
    pub expr: Option<String>,
    /// Least deviation in the feature's own unit; 0 for none.
    pub floor: f64,
    /// The values that it can take; others count as missing.
    pub bounds: Bounds,
}

/// Observations of one feature of one host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Rows with a value.
    pub n_present: usize,
    /// Lowest and highest, in the feature's own unit.
    pub range: (f64, f64),
}

/// The rows of one host.
#[derive(Debug, Clone)]
pub struct HostRows {
    /// Value of the identity label.
    pub name: String,
    /// `[rows × F]`, see the head of this file.
    cells: Vec<i16>,
    /// Rows that follow each other without a gap.
    pub stretches: Vec<Range<usize>>,
    /// The time of the first row of each of `stretches`.
    starts_ms: Vec<TimestampMs>,
    /// Per feature, over all rows, those of the warm-up too.
    pub seen: Vec<Seen>,
    /// Rows that came, those of the warm-up too.
    pub n_rows: usize,
    /// Time of the first row.
    pub first_ms: TimestampMs,
    /// Time of the newest row.
    pub newest_ms: TimestampMs,
}

/// Standardised rows of hosts, in the order in which the hosts first came.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// F: columns of a row.
    pub columns: Vec<Column>,
    /// Scale that it was standardised with.
    pub scale: Scale,
    /// Hosts, each with its rows.
    pub hosts: Vec<HostRows>,
}

impl Scale {
    /// Clips of ±5 and ±20, with which models find most (docs/quality.md).
    #[must_use]
    pub fn new(step_ms: i64, constants: Constants) -> Self {
        Self { step_ms, input_clip: INPUT_CLIP, target_clip: TARGET_CLIP, constants }
    }
}

impl Dataset {
    /// The standardised row `row` of `host`: `[F]`, clipped to the target clip, NaN where missing.
    pub fn row(&self, host: usize, row: usize) -> impl Iterator<Item = f32> + '_ {
        let n = self.columns.len();
        let clip = self.scale.target_clip;
        self.hosts[host].cells[row * n..(row + 1) * n].iter().map(move |cell| value_of(*cell, clip))
    }

    /// Rows of all hosts, those of the warm-up left out.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.hosts.iter().flat_map(|host| &host.stretches).map(Range::len).sum()
    }

    /// Drops the columns for which `is_kept` is false, in place.
    pub fn keep_columns(&mut self, is_kept: &[bool]) {
        let n = self.columns.len();
        for host in &mut self.hosts {
            let (mut cell, mut column) = (0, 0);
            let keeps = |position: &mut usize| {
                *position += 1;
                is_kept[(*position - 1) % n]
            };
            host.cells.retain(|_| keeps(&mut cell));
            host.cells.shrink_to_fit();
            host.seen.retain(|_| keeps(&mut column));
        }
        let mut kept = is_kept.iter();
        self.columns.retain(|_| kept.next().copied().unwrap_or(false));
    }

    /// FNV-1a, 64 bits, over the names and rows.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let columns = self.columns.iter().flat_map(|column| column.name.bytes());
        let with_host = |hash: Fnv, host: &HostRows| {
            hash.with(host.name.bytes()).with(host.cells.iter().flat_map(|cell| cell.to_le_bytes()))
        };
        self.hosts.iter().fold(Fnv::new().with(columns), with_host).hash()
    }
}

/// Takes the rows of hosts as they come.
#[derive(Debug)]
pub struct Collector {
    config: WindowConfig,
    data: Dataset,
    /// By name: the place in `data.hosts`, and what its next row needs.
    hosts: HashMap<String, (usize, Windows)>,
    /// Rows that were not newer than the one before.
    pub n_out_of_order: u64,
}

impl Collector {
    /// For rows of `columns`.
    #[must_use]
    pub fn new(columns: Vec<Column>, scale: Scale) -> Self {
        let scored =
            (0..).zip(&columns).map(|(feature, column)| ScoredFeature { feature, floor: column.floor, range_rows: 0 });
        let config = WindowConfig {
            // The rows are kept here: the ring of a window is not used.
            window_rows: 1,
            scored: scored.collect(),
            input_clip: scale.input_clip,
            target_clip: scale.target_clip,
            statistics: scale.constants.in_rows(scale.step_ms),
            max_missing: 1.0,
        };
        let data = Dataset { columns, scale, hosts: Vec::new() };
        Self { config, data, hosts: HashMap::new(), n_out_of_order: 0 }
    }

    /// The next row of a host: one value per column, NaN where missing. A row that is not newer than the host's last is counted and
    /// left out.
    pub fn push(&mut self, host: &str, t_ms: TimestampMs, values: &[f64]) {
        let n_columns = self.data.columns.len();
        if !self.hosts.contains_key(host) {
            self.hosts.insert(host.to_owned(), (self.data.hosts.len(), Windows::new(&self.config)));
            self.data.hosts.push(HostRows {
                name: host.to_owned(),
                cells: Vec::new(),
                stretches: Vec::new(),
                starts_ms: Vec::new(),
                seen: vec![Seen { n_present: 0, range: (f64::INFINITY, f64::NEG_INFINITY) }; n_columns],
                n_rows: 0,
                first_ms: t_ms,
                newest_ms: TimestampMs::MIN,
            });
        }
        let Some((index, windows)) = self.hosts.get_mut(host) else { return };
        let rows = &mut self.data.hosts[*index];
        if t_ms <= rows.newest_ms {
            self.n_out_of_order += 1;
            return;
        }
        let is_next = t_ms.saturating_sub(rows.newest_ms) == self.data.scale.step_ms;
        (rows.newest_ms, rows.n_rows) = (t_ms, rows.n_rows + 1);
        let possible = |(&x, column): (&f64, &Column)| column.bounds.apply(x).filter(|x| x.is_finite());
        let cells = values.iter().zip(&self.data.columns);
        let values: Vec<f64> = cells.map(|cell| possible(cell).unwrap_or(f64::NAN)).collect();
        for (seen, &x) in rows.seen.iter_mut().zip(&values).filter(|(_, x)| !x.is_nan()) {
            seen.n_present += 1;
            seen.range = (seen.range.0.min(x), seen.range.1.max(x));
        }
        let row = windows.standardise(t_ms, &values, &self.config);
        if rows.cells.is_empty() && row.z.iter().all(|z| z.is_nan()) {
            // The warm-up.
            return;
        }
        rows.add(&row.z, t_ms, is_next, self.data.scale.target_clip);
    }

    /// All that came.
    #[must_use]
    pub fn finish(mut self) -> Dataset {
        for host in &mut self.data.hosts {
            host.cells.shrink_to_fit();
        }
        self.data
    }
}

impl HostRows {
    /// Returns the time of the row at place `row`, `step_ms` being the interval between rows.
    #[must_use]
    pub fn time_ms(&self, row: usize, step_ms: i64) -> TimestampMs {
        let stretch = self.stretches.partition_point(|stretch| stretch.start <= row).saturating_sub(1);
        let start = self.stretches.get(stretch).map_or(0, |stretch| stretch.start);
        self.starts_ms.get(stretch).map_or(0, |start_ms| start_ms + row.saturating_sub(start) as i64 * step_ms)
    }

    /// `t_ms` is the row's time, `follows` whether it is a step after the one before.
    fn add(&mut self, z: &[f32], t_ms: TimestampMs, follows: bool, clip: f32) {
        let row = self.cells.len() / z.len().max(1);
        if self.cells.capacity() - self.cells.len() < z.len() {
            self.cells.reserve_exact(GROWTH_ROWS * z.len());
        }
        self.cells.extend(z.iter().map(|z| cell_of(*z, clip)));
        match self.stretches.last_mut().filter(|_| follows) {
            Some(stretch) => stretch.end = row + 1,
            None => {
                self.stretches.push(row..row + 1);
                self.starts_ms.push(t_ms);
            }
        }
    }

    /// Share of the cells of `columns` columns that has a value; 0 without rows.
    #[must_use]
    pub fn present(&self) -> f64 {
        let n_cells = (self.n_rows * self.seen.len()).max(1);
        self.seen.iter().map(|seen| seen.n_present).sum::<usize>() as f64 / n_cells as f64
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::offline::train) const STEP_MS: i64 = 60_000;

    pub(in crate::offline::train) fn scale() -> Scale {
        Scale::new(STEP_MS, Constants::default())
    }

    pub(in crate::offline::train) fn columns(names: &[&str]) -> Vec<Column> {
        names
            .iter()
            .map(|name| Column { name: (*name).to_owned(), expr: None, floor: 0.0, bounds: Bounds::NONE })
            .collect()
    }

    /// Hosts `h0`, `h1`, … of `n_rows` rows; `value` of host, row and feature.
    pub(in crate::offline::train) fn dataset(
        n_hosts: usize,
        n_rows: usize,
        names: &[&str],
        value: impl Fn(usize, usize, usize) -> f64,
    ) -> Dataset {
        let mut collector = Collector::new(columns(names), scale());
        for row in 0..n_rows {
            for host in 0..n_hosts {
                let values: Vec<f64> = (0..names.len()).map(|feature| value(host, row, feature)).collect();
                collector.push(&format!("h{host}"), row as i64 * STEP_MS, &values);
            }
        }
        collector.finish()
    }

    #[test]
    fn rows_are_those_of_the_engine() {
        let value = |_, row: usize, feature: usize| if (row, feature) == (80, 1) { f64::NAN } else { (row % 7) as f64 };
        let data = dataset(1, 100, &["a", "b"], value);
        let config = Collector::new(columns(&["a", "b"]), scale()).config;
        let mut windows = Windows::new(&config);
        let rows: Vec<Box<[f32]>> = (0..100)
            .map(|row| windows.standardise(row as i64 * STEP_MS, &[value(0, row, 0), value(0, row, 1)], &config).z)
            .collect();
        assert_eq!(
            data.hosts[0].stretches.iter().cloned().flatten().collect::<Vec<_>>(),
            (0..40).collect::<Vec<_>>(),
            "60 rows are the warm-up"
        );
        for (n, row) in rows[60..].iter().enumerate() {
            let same = |(ours, engine): (f32, &f32)| (ours - engine).abs() < 3.1e-4 || ours.is_nan() && engine.is_nan();
            assert!(data.row(0, n).zip(row).all(same), "row {n}");
        }
        assert!(data.row(0, 20).nth(1).unwrap().is_nan());
        assert_eq!(data.hosts[0].seen[1], Seen { n_present: 99, range: (0.0, 6.0) });
    }

    #[test]
    fn values_that_a_feature_cannot_take_are_missing() {
        let mut columns = columns(&["a", "b"]);
        columns[0].bounds = Bounds::new(Some(0.0), Some(1.0)).unwrap();
        let mut collector = Collector::new(columns, scale());
        for row in 0..100 {
            let a = if row == 80 { 37_071.0 } else { f64::from(row % 2) * 1.0004 };
            collector.push("h", i64::from(row) * STEP_MS, &[a, a]);
        }
        let data = collector.finish();
        assert_eq!(data.hosts[0].seen[0], Seen { n_present: 99, range: (0.0, 1.0) });
        assert_eq!(data.hosts[0].seen[1], Seen { n_present: 100, range: (0.0, 37_071.0) });
        assert_eq!(data.row(0, 20).map(f32::is_nan).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn gaps_part_the_rows_and_what_is_old_is_left_out() {
        let mut collector = Collector::new(columns(&["a"]), scale());
        let times = (0..100).chain(50..60).chain(110..120).chain(125..126);
        times.for_each(|row| collector.push("h", row * STEP_MS, &[(row % 5) as f64]));
        assert_eq!(collector.n_out_of_order, 10);
        let data = collector.finish();
        assert_eq!(data.hosts[0].stretches, [0..40, 40..50, 50..51]);
        let minute = |row: usize| data.hosts[0].time_ms(row, STEP_MS) / STEP_MS;
        assert_eq!([0, 39, 40, 49, 50].map(minute), [60, 99, 110, 119, 125]);
    }

    #[test]
    fn columns_go_and_the_others_stay() {
        let mut data =
            dataset(2, 90, &["a", "b", "c"], |host, row, feature| ((row * (feature + 2) + host) % 11) as f64);
        let before: Vec<Vec<f32>> = (0..30).map(|row| data.row(1, row).collect()).collect();
        data.keep_columns(&[true, false, true]);
        assert_eq!(data.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert!((0..30).all(|row| data.row(1, row).eq([before[row][0], before[row][2]])));
        assert_eq!(data.hosts[1].seen.len(), 2);
    }
}
