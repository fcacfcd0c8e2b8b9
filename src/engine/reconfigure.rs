//! Another configuration for a running engine: what still fits is kept, what is new begins as missing.
//!
//! Never closes a step and never gives anything out. A feature is the same where its name and its expression are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::change::{Change, Side};
use super::from_to::FromTo;
use super::host::Host;
use super::layout::{Layout, Series};
use super::paces::{Paced, Paces};
use super::selection::{reach_ms, select, selection_class};
use super::targets::{label_sets, scored_leaves};
use super::{Engine, EngineConfig, LABEL_BYTES_MIN, Shared};
use crate::promql::Plan;
use crate::promql::labelset::{LabelSets, SHARED};
use crate::promql::plan::{Leaf, Spans, UP_NAME};
use crate::series::{Labels, METRIC_NAME};

impl Engine {
    /// Runs with `config` from now on. Identity, kept and dropped labels must be as they were.
    ///
    /// Per host stay: the samples of selectors that stay; the statistics and the window's column of each feature that stays and is
    /// still scored, by either model; of the window the newest rows that fit. A selector that is new, or keeps its samples in
    /// another way at another step, is missing until all that it reads has been seen; windows start over where the step changes.
    pub fn reconfigure(&mut self, config: EngineConfig) {
        let old = std::mem::replace(&mut self.shared.config, config);
        let new_paces = Paces::new(&self.shared.config);
        let mut old_paces = std::mem::replace(&mut self.shared.paces, new_paces);
        // By host: the number of its pace before, and now.
        let Shared { config, paces, .. } = &mut self.shared;
        let moves: Vec<Move> =
            self.hosts.iter().map(|host| (host.pace, paces.number(host.interval_ms, config))).collect();
        let distinct: HashSet<Move> = moves.iter().copied().collect();
        let is_same = config.plan.ids == old.plan.ids
            && distinct.iter().all(|(from, to)| {
                old_paces[*from].pace == paces[*to].pace && old_paces[*from].wiring == paces[*to].wiring
            });
        if is_same {
            for (from, to) in &distinct {
                paces[*to].layouts = std::mem::take(&mut old_paces[*from].layouts);
            }
        } else {
            self.rewire(&old, &old_paces, &moves);
        }
        self.shared.scored_leaves = scored_leaves(&self.shared.config);
        self.hosts.iter_mut().for_each(|host| host.match_silences(&self.shared));
        let Shared { config, paces, .. } = &self.shared;
        let change = |(from, to): Move| {
            let sides = (Side::new(&old, &old_paces[from]), Side::new(config, &paces[to]));
            ((from, to), Change::new(sides.0, sides.1))
        };
        let changes: HashMap<Move, Change<'_>> = distinct.into_iter().map(change).collect();
        for (host, to) in self.hosts.iter_mut().zip(moves) {
            host.reconfigure(&changes[&to], to.1, config.interval_ms);
            host.find_senders(&self.shared);
        }
    }

    /// Moves every host to the leaves of the new plan and to its new pace.
    fn rewire(&mut self, old: &EngineConfig, old_paces: &Paces, moves: &[Move]) {
        let Shared { config, paces, sets, ignored, .. } = &mut self.shared;
        let (plan, old_plan) = (&config.plan, &old.plan);
        let old_sets = std::mem::replace(sets, label_sets(config));
        ignored.clear();
        let moved = moved_leaves(old_plan, plan);
        // By pace before and now: the leaves that begin.
        let mut begins: HashMap<Move, Vec<(u16, i64)>> = HashMap::new();
        // What becomes of a layout depends beside itself on the labels that selectors read and a host's series share.
        let mut known: HashMap<(*const Layout, u64, usize), Reselected> = HashMap::new();
        for (host, &(from, to)) in self.hosts.iter_mut().zip(moves) {
            let old_wiring = &old_paces[from].wiring;
            let class = selection_class(plan, &host.shared_labels);
            let key = (Arc::as_ptr(&host.slots.layout), class, to);
            let (layout, new_slots) = known.entry(key).or_insert_with(|| {
                let spans = paces[to].pace.spans;
                let plans = FromTo { from: old_plan.as_ref(), to: plan.as_ref() };
                let (series, new_slots) = reselected(host, plans, spans, &old_sets, sets);
                (paces[to].layout(series), new_slots)
            });
            let Paced { wiring, pace, .. } = &paces[to];
            let begins = begins.entry((from, to)).or_insert_with(|| {
                let stays = |new: u16| {
                    let old = (0..).zip(&moved).find(|(_, moved)| **moved == Some(new));
                    old.is_some_and(|(old, _)| old_wiring.reads_same(old, wiring, new))
                };
                let begins = (0..).zip(&plan.leaves).filter(|(new, _)| !stays(*new));
                begins.map(|(new, leaf)| (new, leaf.reach_ms(pace.spans))).collect()
            });
            host.selection_class = class;
            let wirings = FromTo { from: old_wiring, to: wiring };
            host.rewire(wirings, Arc::clone(layout), new_slots, &moved, begins, pace.step_ms);
        }
        self.label_bytes_max = LABEL_BYTES_MIN.max(2 * sets.bytes());
    }
}

/// The number of a host's pace before the change, and after it.
type Move = (usize, usize);

/// For each leaf of the old plan the same one of the new.
fn moved_leaves(old: &Plan, new: &Plan) -> Vec<Option<u16>> {
    let ids: HashMap<String, u16> = new.leaves.iter().map(Leaf::key).zip(0..).collect();
    old.leaves.iter().map(|leaf| ids.get(&leaf.key()).copied()).collect()
}

/// A layout after the change, and the new slot of each old one.
type Reselected = (Arc<Layout>, Vec<Option<u32>>);

/// The host's series that the new plan reads, and the new slot of each old one. The metric name of a series is known by an old leaf
/// that names it; one that was selected by other labels alone is dropped, and found anew by its next sample.
fn reselected(
    host: &Host,
    plans: FromTo<&Plan>,
    spans: Spans,
    old_sets: &LabelSets,
    sets: &mut LabelSets,
) -> (Vec<Series>, Vec<Option<u32>>) {
    let FromTo { from: old_plan, to: plan } = plans;
    let mut kept = Vec::new();
    let mut new_slots = Vec::new();
    for series in &host.slots.layout.series {
        let named = series.leaves.iter().find_map(|leaf| old_plan.leaves[*leaf as usize].selector.metric.as_deref());
        let name = if series.is_up { Some(UP_NAME) } else { named };
        let own = old_sets.get(series.labels);
        let leaves = name.map_or_else(Vec::new, |name| {
            let value =
                |label: &str, own| if own == SHARED { host.shared_labels.get(label).unwrap_or(own) } else { own };
            let mut labels: Vec<(&str, &str)> = own.iter().map(|(label, own)| (label, value(label, own))).collect();
            labels.push((METRIC_NAME, name));
            labels.sort_unstable();
            select(plan, name, &labels)
        });
        let is_kept = !leaves.is_empty() || series.is_up;
        new_slots.push(is_kept.then_some(kept.len() as u32));
        if is_kept {
            let labels = sets.intern(Labels::clone(own));
            kept.push(Series {
                labels,
                reach_ms: reach_ms(plan, &leaves, spans),
                leaves: leaves.into(),
                ..series.clone()
            });
        }
    }
    (kept, new_slots)
}
