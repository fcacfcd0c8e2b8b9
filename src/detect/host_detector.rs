//! One model on one thread: windows in, verdicts out. Owns the session, its buffers and the verdict state of the thread's hosts.

use std::collections::HashMap;
use std::sync::Arc;

use super::decision::{Decision, Decisions};
use super::verdict::{FeatureScore, Verdict, VerdictState};
use crate::base::remap::Remap;
use crate::engine::row::{HostId, Row, Window};
use crate::model::batch::Batch;
use crate::promql::plan::FeatureId;

/// Factors on the limits of hosts, from feedback on their events; a host that is not there has 1.
pub type LimitFactors = HashMap<String, f64>;

/// A model, ready to run.
#[derive(Debug)]
pub struct Model {
    /// Its session.
    pub batch: Batch,
    /// Decisions by which its errors become a flag, by host.
    pub decisions: Decisions,
    /// Its features, in its order.
    pub features: Vec<FeatureId>,
    /// The bundle's [`id`](crate::model::bundle::Bundle::id): two models are the same where it is.
    pub bundle: u64,
}

/// The models of one thread.
#[derive(Debug)]
pub struct Models {
    /// The one that flags.
    pub live: Model,
    /// One that is only looked at.
    pub shadow: Option<Model>,
}

/// A model at work.
#[derive(Debug)]
pub struct HostDetector {
    model: Model,
    /// `[batch × F]`.
    expected: Vec<f32>,
    /// By host.
    hosts: HashMap<Arc<str>, Known>,
}

/// A row's verdict, and what each of its features alone comes to where that was asked for.
pub type Detection = (Verdict, Box<[FeatureScore]>);

/// A host that was judged.
#[derive(Debug, Default)]
struct Known {
    /// Of which labels the decision is; `None` until the first row that the model judges.
    id: Option<Arc<HostId>>,
    /// `None` until then.
    decision: Option<Arc<Decision>>,
    state: VerdictState,
}

impl HostDetector {
    /// One without hosts.
    pub fn new(model: Model) -> Self {
        Self { model, expected: Vec::new(), hosts: HashMap::new() }
    }

    /// Returns T: rows of a window.
    pub fn window_rows(&self) -> usize {
        self.model.batch.window_rows()
    }

    /// The verdicts of at most a batch of rows, by row; `None` where `window` gives none or it can't be judged. `factors` are what
    /// people's opinions multiply limits with. `with_alone` asks for what each feature alone comes to.
    ///
    /// # Errors
    /// As [`Batch::expect`]; no state has changed.
    pub fn judge(
        &mut self,
        rows: &[Row],
        factors: &LimitFactors,
        window: fn(&Row) -> Option<&Window>,
        with_alone: bool,
    ) -> anyhow::Result<Vec<Option<Detection>>> {
        self.model.batch.expect(rows.iter().filter_map(window), &mut self.expected)?;
        let mut expected_rows = self.expected.chunks_exact(self.model.batch.n_features());
        let (hosts, decisions) = (&mut self.hosts, &mut self.model.decisions);
        let judge = |row: &Row| {
            let (window, expected) = (window(row)?, expected_rows.next()?);
            // The name is copied for a new host alone.
            let known = match hosts.get_mut(row.host.name.as_ref()) {
                Some(known) => known,
                None => hosts.entry(row.host.name.as_ref().into()).or_default(),
            };
            if known.id.as_ref().is_none_or(|id| !Arc::ptr_eq(id, &row.host)) {
                known.id = Some(Arc::clone(&row.host));
                known.decision = None;
            }
            let decision = known.decision.get_or_insert_with(|| decisions.of(&row.host.labels));
            if decision.step_ms != row.step_ms {
                *decision = Arc::new(decision.at_step(row.step_ms));
            }
            let factor = factors.get(row.host.name.as_ref()).copied().unwrap_or(1.0);
            if decision.feedback != factor {
                *decision = Arc::new(Decision { feedback: factor, ..Decision::clone(decision) });
            }
            let alone =
                if with_alone { known.state.alone(window, expected, row.t_ms, decision) } else { Box::default() };
            Some((known.state.judge(window, expected, row.t_ms, row.eligibility, decision)?, alone))
        };
        Ok(rows.iter().map(judge).collect())
    }

    /// Forgets a host.
    pub fn forget(&mut self, host: &str) {
        self.hosts.remove(host);
    }

    /// Runs `model` from now on, with what is known of the hosts: flags too, so that a new bundle doesn't clear them.
    fn replace_model(&mut self, model: Model) {
        let columns = Remap::new(&self.model.features, &model.features);
        for judged in self.hosts.values_mut() {
            judged.decision = None;
            if !columns.is_identity() {
                judged.state = judged.state.moved(&columns);
            }
        }
        self.model = model;
    }

    /// A detector beside it, which begins with how wrong forecasts of the same features usually are.
    fn new_shadow(&self, model: Model) -> Self {
        let columns = Remap::new(&self.model.features, &model.features);
        let levels = |judged: &Known| Known { id: None, decision: None, state: judged.state.levels_of(&columns) };
        let hosts = self.hosts.iter().map(|(host, judged)| (Arc::clone(host), levels(judged))).collect();
        Self { hosts, ..Self::new(model) }
    }
}

/// Lets `models` run from now on. What is known of the hosts stays in its role, unless the shadow's bundle goes live: then the two
/// change places with all that they know.
pub fn reconfigure(live: &mut HostDetector, shadow: &mut Option<HostDetector>, models: Models) {
    if let Some(shadow) = shadow
        && shadow.model.bundle == models.live.bundle
        && live.model.bundle != models.live.bundle
    {
        std::mem::swap(live, shadow);
    }
    *shadow = models.shadow.map(|model| match shadow.take() {
        Some(mut shadow) => {
            shadow.replace_model(model);
            shadow
        }
        None => live.new_shadow(model),
    });
    live.replace_model(models.live);
}
