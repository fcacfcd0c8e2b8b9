//! Which series a scored row becomes, with which labels, and their bytes in remote write. Pure.
//!
//! vmanomaly's names and labels, as its dashboards and rules read them: a joint `anomaly_score` of the host and, for each
//! feature, the score and the band that it alone has. What each value is says [`Layout::values`].

use std::sync::Arc;

use super::row::QueuedRow;
use crate::base::proto::prometheus::{Label, Sample, TimeSeries};
use crate::base::write_request::WriteRequestEncoder;
use crate::config::push::{Push, PushSeries};
use crate::detect::verdict::FeatureScore;
use crate::results::{ResultSchema, ScoredRow};
use crate::series::METRIC_NAME;

/// Value of the label `for` of a host's own score. No feature can be called so.
pub const WHOLE_HOST: &str = "whole-host";

/// The label that says what a score or band is of.
const FOR: &str = "for";

/// vmanomaly's names of a feature's series, in the order of the values.
const FEATURE_NAMES: [&str; 5] = ["anomaly_score", "y", "yhat", "yhat_lower", "yhat_upper"];

/// Our own names, as on `/metrics`, in the order of the values.
const HOST_NAMES: [&str; 4] =
    ["outlierd_host_anomaly", "outlierd_host_score", "outlierd_host_mse", "outlierd_host_threshold"];

/// The series of every host, in the order of a row's values.
#[derive(Debug)]
pub struct Layout {
    heads: Vec<Head>,
    /// The scored features' columns in a row; none where only hosts are pushed.
    columns: Vec<usize>,
    /// Whether [`HOST_NAMES`] are among the series.
    host_metrics: bool,
    /// The labels that vmanomaly's names have beside the host's own.
    aliases: [(&'static str, String); 3],
    /// The label that our own names have beside the host's own.
    model: (&'static str, String),
}

/// Part of a series that others of the host have not.
#[derive(Debug)]
struct Head {
    name: String,
    /// Value of the label `for`; `None` for our own names.
    of: Option<String>,
}

impl Layout {
    /// The series that `push` asks for.
    #[must_use]
    pub fn new(push: &Push, schema: &ResultSchema) -> Self {
        let named = |name: &str, of: &str| Head { name: format!("{}{name}", push.prefix), of: Some(of.to_owned()) };
        let mut heads = vec![named(FEATURE_NAMES[0], WHOLE_HOST)];
        if push.host_metrics {
            heads.extend(HOST_NAMES.map(|name| Head { name: name.to_owned(), of: None }));
        }
        let columns = if push.series == PushSeries::All { schema.scored.clone() } else { Vec::new() };
        for feature in columns.iter().filter_map(|column| schema.features.get(*column)) {
            heads.extend(FEATURE_NAMES.map(|name| named(name, &feature.name)));
        }
        let aliases = [
            ("model_alias", schema.model_alias.clone()),
            ("preset", push.preset.clone()),
            ("scheduler_alias", push.scheduler_alias.clone()),
        ];
        let model = ("model", schema.model_alias.clone());
        Self { heads, columns, host_metrics: push.host_metrics, aliases, model }
    }

    /// Series of each host.
    #[must_use]
    pub fn n_series(&self) -> usize {
        self.heads.len()
    }

    /// Whether features have series.
    #[must_use]
    pub fn has_features(&self) -> bool {
        !self.columns.is_empty()
    }

    /// One value per series; NaN where there is none. `alone` is in the order of the bundle.
    ///
    /// ```text
    /// whole host   anomaly_score = mse / limit, smoothed: over 1 is what raises the flag
    /// feature      y, yhat       = actual and expected, in its own unit
    ///              yhat_lower    = yhat − reach below, yhat_upper = yhat + reach above; absent where that side does not count
    ///              anomaly_score = its part of the row's score: 0 at yhat, 1 at either end of the band, over 1 beyond
    /// ```
    /// Rules alert on scores and the flag, so these are absent where the host can't be judged; the rest is there for every row
    /// that was scored.
    #[must_use]
    pub fn values(&self, row: &ScoredRow, alone: &[FeatureScore]) -> Option<Box<[f64]>> {
        let verdict = row.verdict.as_ref()?;
        let judged = |value: f64| if verdict.flag.is_some() { value } else { f64::NAN };
        let mut values = Vec::with_capacity(self.heads.len());
        values.push(judged(verdict.score));
        if self.host_metrics {
            let flag = verdict.flag.map_or(f64::NAN, |flag| f64::from(u8::from(flag)));
            values.extend([flag, verdict.score, verdict.mse, verdict.limit]);
        }
        for (i, column) in self.columns.iter().enumerate() {
            let of = |values: &[f64], i: usize| values.get(i).copied().unwrap_or(f64::NAN);
            let (y, yhat) = (of(&row.values, *column), of(&verdict.expected, i));
            let unknown = FeatureScore { score: f64::NAN, reach: [f64::NAN; 2] };
            let FeatureScore { score, reach: [below, above] } = alone.get(i).copied().unwrap_or(unknown);
            values.extend([judged(score), y, yhat, yhat - below, yhat + above]);
        }
        Some(values.into())
    }
}

/// The request that is being filled.
#[derive(Debug)]
pub struct Block {
    layout: Arc<Layout>,
    /// The series that is being written, of vmanomaly's names: labels sorted, one sample.
    of_vmanomaly: TimeSeries,
    /// The same, of our own names.
    of_ours: TimeSeries,
    request: WriteRequestEncoder,
}

impl Block {
    /// An empty one.
    #[must_use]
    pub fn new(layout: Arc<Layout>) -> Self {
        let (of_vmanomaly, of_ours) = (TimeSeries::default(), TimeSeries::default());
        Self { layout, of_vmanomaly, of_ours, request: WriteRequestEncoder::default() }
    }

    /// Samples in it.
    #[must_use]
    pub fn n_samples(&self) -> usize {
        self.request.n_samples()
    }

    /// Adds a row's samples. A value that is no number has none.
    ///
    /// # Errors
    /// None that occur: a vector grows.
    pub fn push(&mut self, row: &QueuedRow) -> anyhow::Result<()> {
        let sample = Sample { value: 0.0, timestamp: row.t_ms };
        let host = || row.host.labels.iter();
        let aliases = self.layout.aliases.iter().map(|(name, value)| (*name, value.as_str()));
        start(&mut self.of_vmanomaly, host().chain(aliases).chain([(METRIC_NAME, ""), (FOR, "")]), sample);
        let model = (self.layout.model.0, self.layout.model.1.as_str());
        start(&mut self.of_ours, host().chain([model, (METRIC_NAME, "")]), sample);
        for (head, value) in self.layout.heads.iter().zip(&row.values) {
            if !value.is_finite() {
                continue;
            }
            let series = if let Some(of) = &head.of {
                set(&mut self.of_vmanomaly, FOR, of);
                &mut self.of_vmanomaly
            } else {
                &mut self.of_ours
            };
            set(series, METRIC_NAME, &head.name);
            series.samples.iter_mut().for_each(|sample| sample.value = *value);
            self.request.push(series)?;
        }
        Ok(())
    }

    /// The body of a request with everything pushed since the last one, in snappy's block format.
    ///
    /// # Errors
    /// It is too large for snappy: over 4 GiB.
    pub fn take(&mut self) -> anyhow::Result<Vec<u8>> {
        self.request.take()
    }
}

/// Begins the series of another row: `labels` sorted by name, as remote write wants them, without empty ones but for those that
/// are set later.
fn start<'a>(series: &mut TimeSeries, labels: impl Iterator<Item = (&'a str, &'a str)>, sample: Sample) {
    let is_set_later = |name: &str| name == METRIC_NAME || name == FOR;
    series.labels.clear();
    series.labels.extend(
        labels
            .filter(|(name, value)| !value.is_empty() || is_set_later(name))
            .map(|(name, value)| Label { name: name.to_owned(), value: value.to_owned() }),
    );
    series.labels.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    series.samples.clear();
    series.samples.push(sample);
}

fn set(series: &mut TimeSeries, name: &str, value: &str) {
    if let Some(label) = series.labels.iter_mut().find(|label| label.name == name) {
        label.value.clear();
        label.value.push_str(value);
    }
}

/// Samples that `values` come to.
#[must_use]
pub fn count(values: &[f64]) -> usize {
    values.iter().filter(|value| value.is_finite()).count()
}
