//! The hosts: one that lives by a daily rhythm, with noise, and one whose features are what a test says.

use std::sync::LazyLock;

use outlierd::base::proto::prometheus::TimeSeries;
use outlierd::base::random::Random;
use outlierd::config::Config;
use outlierd::offline::labelled::SMD_FEATURES;
use outlierd::setup::Setup;
use outlierd::sim::demo::exposition::Page;
use outlierd::sim::demo::fault::Strain;
use outlierd::sim::demo::host::{Host, Role};
use outlierd::sim::playback::exporter::Exporter;

use super::{START_MS, time_of};

const STEP_S: f64 = 60.0;

/// Expressions of the features that the shipped bundle scores.
static SCORED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let setup = Setup::new(Config::default()).unwrap();
    setup.scored.iter().map(|&i| setup.config.features[usize::from(i)].expr.clone()).collect()
});

/// Whether a scored feature reads the series; the others would cost time and change nothing.
fn is_read(series: &TimeSeries) -> bool {
    let name = &series.labels[0].value;
    let is_idle_or_no_cpu = name != "node_cpu_seconds_total" || series.labels.iter().any(|l| l.value == "idle");
    let is_loopback = series.labels.iter().any(|l| l.value == "lo");
    name == "up" || is_idle_or_no_cpu && !is_loopback && SCORED.iter().any(|expr| expr.contains(name.as_str()))
}

/// A host with users: their demand rises by day and falls by night, and wanders.
pub struct Machine {
    pub name: String,
    pub host: Host,
    page: Page,
    phase_ms: i64,
    /// By series of the page.
    is_read: Vec<bool>,
}

impl Machine {
    /// A host that has been up for a month; the same seed gives the same host and the same days.
    pub fn new(name: &str, role: Role, seed: u64) -> Self {
        let mut host = Host::new(role, START_MS - 30 * 86_400_000, Random::new(seed));
        // Half a day of life, so that memory, load and page cache have found their level.
        for minute in -720..0 {
            host.step(time_of(minute, 0), STEP_S, Strain::default());
        }
        let phase_ms = (seed % 7) as i64 * 7_000;
        Self { name: name.to_owned(), host, page: Page::new(name, "node"), phase_ms, is_read: Vec::new() }
    }

    /// When the scrape of a minute is.
    pub fn time_of(&self, minute: i64) -> i64 {
        time_of(minute, self.phase_ms)
    }

    /// Lives through the minute, and is scraped.
    pub fn scrape(&mut self, minute: i64, strain: Strain) -> Vec<TimeSeries> {
        self.live(minute, strain);
        self.expose(self.time_of(minute))
    }

    /// Lives through the minute without being scraped.
    pub fn live(&mut self, minute: i64, strain: Strain) {
        self.host.step(time_of(minute, self.phase_ms), STEP_S, strain);
    }

    /// The host as it stands, scraped at `t_ms`.
    pub fn expose(&mut self, t_ms: i64) -> Vec<TimeSeries> {
        let series = self.page.scrape(&self.host, t_ms);
        if self.is_read.is_empty() {
            self.is_read = series.iter().map(is_read).collect();
        }
        series.iter().zip(&self.is_read).filter(|(_, is_read)| **is_read).map(|(series, _)| series.clone()).collect()
    }
}

/// A host whose features are given, each from 0 to 1.
pub struct Puppet {
    exporter: Exporter,
    phase_ms: i64,
}

impl Puppet {
    /// A host of the features of the Server Machine Dataset, which are those that the shipped bundle scores.
    pub fn new(name: &str) -> Self {
        let exporter = Exporter::new(name, &SMD_FEATURES.map(str::to_owned)).unwrap();
        Self { exporter, phase_ms: 11_000 }
    }

    /// A scrape of the minute; `value` gives each feature.
    pub fn scrape(&mut self, minute: i64, value: impl Fn(&str) -> f64) -> Vec<TimeSeries> {
        let values = SMD_FEATURES.map(value);
        self.exporter.scrape(&values, time_of(minute, self.phase_ms)).to_vec()
    }
}

/// In ± 1, by minute and stream; reproducible.
pub fn noise(stream: u64, minute: i64) -> f64 {
    2.0 * Random::new(stream << 40 ^ minute as u64).unit() - 1.0
}
