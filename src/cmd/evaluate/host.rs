//! One host: its rows through the engine, the windows through the model, verdicts, quality.

use super::subject::Subject;
use crate::engine::row::Window;
use crate::engine::windows::StandardisedRow;
use crate::model::batch::{BATCH_WINDOWS, Batch};
use crate::model::session::{Runtime, Session};
use crate::offline::evaluate::baseline::{self, Kind, Seen, Setting};
use crate::offline::evaluate::judge::{Judge, Timed};
use crate::offline::evaluate::quality::Quality;
use crate::offline::evaluate::rows::{Rows, Statistics};
use crate::offline::labelled::LabelledHost;

/// Result of one host.
#[derive(Debug)]
pub(super) struct HostReport {
    pub(super) name: String,
    /// Of the model; `None` where baselines are measured alone.
    pub(super) quality: Option<Quality>,
    /// In the order asked for.
    pub(super) baselines: Vec<Quality>,
    /// By labelled row.
    pub(super) scores: Vec<f64>,
    /// By labelled row.
    pub(super) flags: Vec<bool>,
    /// Labelled rows that were not scored.
    pub(super) n_unscored: usize,
}

/// Judges `host` by `subject`, and by the baselines of `kinds`.
pub(super) fn judge(
    host: &LabelledHost,
    subject: &Subject,
    runtime: Option<&'static Runtime>,
    statistics: Statistics,
    kinds: &[Kind],
) -> anyhow::Result<HostReport> {
    let (n_unlabelled, n_labelled) = (host.n_unlabelled(), host.label.len());
    let (values, blames) = (subject.values(host), subject.blames(host));
    let rows = Rows {
        values: values.view(),
        t_ms: host.t_ms.as_deref(),
        step_ms: subject.step_ms,
        n_unlabelled,
        is_scaled: host.is_scaled(),
    };
    let new_judge = || Judge::new(&subject.rule, n_unlabelled, n_labelled, &blames);
    let mut model = match (&subject.bundle, runtime) {
        (Some(bundle), Some(runtime)) => {
            let window = subject.windows.window_rows;
            let batch = Batch::new(Session::open(runtime, bundle, window)?, window, subject.features.len());
            Some(Model { batch, waiting: Vec::new(), expected: Vec::new(), judge: new_judge() })
        }
        _ => None,
    };
    let mut seen = Vec::new();
    let take = |timed: Timed, row: &StandardisedRow, window: Option<Window>| {
        if !kinds.is_empty() {
            seen.push(Seen { timed, row: row.clone(), has_window: window.is_some() });
        }
        match (&mut model, window) {
            (Some(model), Some(window)) => model.take(timed, window),
            _ => Ok(()),
        }
    };
    rows.for_each(statistics, &subject.windows, take)?;
    let setting = Setting {
        input_clip: subject.windows.input_clip,
        limit: subject.rule.decision.limit,
        step_ms: subject.step_ms,
        n_unlabelled,
    };
    let baseline = |kind: &Kind| {
        let mut judge = new_judge();
        baseline::run(*kind, &seen, setting, &mut judge);
        Quality::of_host(&judge, &host.label, subject.step_ms)
    };
    let mut report = HostReport {
        name: host.name.clone(),
        quality: None,
        baselines: kinds.iter().map(baseline).collect(),
        scores: Vec::new(),
        flags: Vec::new(),
        n_unscored: 0,
    };
    if let Some(mut model) = model {
        model.score()?;
        let judge = model.judge;
        report.quality = Some(Quality::of_host(&judge, &host.label, subject.step_ms));
        (report.scores, report.flags, report.n_unscored) = (judge.scores, judge.flags, judge.n_unscored);
    }
    Ok(report)
}

/// The model, and windows that wait for a full batch.
struct Model<'a> {
    batch: Batch,
    waiting: Vec<(Timed, Window)>,
    /// `[waiting × F]`.
    expected: Vec<f32>,
    judge: Judge<'a>,
}

impl Model<'_> {
    fn take(&mut self, timed: Timed, window: Window) -> anyhow::Result<()> {
        self.waiting.push((timed, window));
        if self.waiting.len() < BATCH_WINDOWS { Ok(()) } else { self.score() }
    }

    fn score(&mut self) -> anyhow::Result<()> {
        self.batch.expect(self.waiting.iter().map(|(_, window)| window), &mut self.expected)?;
        let expected = self.expected.chunks_exact(self.batch.n_features());
        for ((timed, window), expected) in self.waiting.drain(..).zip(expected) {
            self.judge.judge(timed, &window, expected);
        }
        Ok(())
    }
}
