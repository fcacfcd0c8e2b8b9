//! Models that have not seen the host that they are scored on.

use std::ops::ControlFlow;

use anyhow::{Context, ensure};

use super::Subjects;
use super::subject::Subject;
use crate::base::bounds::Bounds;
use crate::config::Config;
use crate::engine::standardise::Constants;
use crate::model::bundle::Bundle;
use crate::offline::labelled::LabelledHost;
use crate::offline::train::bundle::bundle;
use crate::offline::train::dataset::{Column, Scale};
use crate::offline::train::fit::{Options, fit};
use crate::offline::train::source::{collect_unlabelled, labelled_features};

/// Step, in milliseconds, where neither the data nor a bundle says how far rows are apart.
const STEP_MS: i64 = 60_000;

/// Trains a model without each of `n_groups` groups of hosts, 0 for every host alone; each host is judged by the one without it.
pub(super) fn subjects(hosts: &[LabelledHost], n_groups: usize, step_ms: Option<i64>) -> anyhow::Result<Subjects> {
    ensure!(hosts.len() > 1, "there is one host alone: nothing is left to train on without it");
    let n_groups = if n_groups == 0 { hosts.len() } else { n_groups.min(hosts.len()) };
    ensure!(n_groups > 1, "hosts are left out in at least 2 groups");
    let by_host: Vec<usize> = (0..hosts.len()).map(|host| host % n_groups).collect();
    let train = |group: usize| {
        let left_out: Vec<usize> = (0..hosts.len()).filter(|host| by_host[*host] == group).collect();
        let names: Vec<&str> = left_out.iter().map(|host| hosts[*host].name.as_str()).collect();
        tracing::info!(group = group + 1, of = n_groups, without = names.join(" "), "training");
        let bundle = train_without(hosts, &left_out, step_ms.unwrap_or(STEP_MS))
            .with_context(|| format!("cannot train without {}", names.join(", ")))?;
        Ok(Subject::new(bundle, hosts, step_ms))
    };
    let all = (0..n_groups).map(train).collect::<anyhow::Result<Vec<Subject>>>()?;
    let source = format!("each host by a model that has not seen it, {n_groups} trainings");
    Ok(Subjects { all, by_host, source })
}

/// A bundle trained on the unlabelled rows of all hosts but those of `left_out`, as `make bundle` trains the shipped one.
fn train_without(hosts: &[LabelledHost], left_out: &[usize], step_ms: i64) -> anyhow::Result<Bundle> {
    let column = |name: String| Column { name, expr: None, floor: 0.0, bounds: Bounds::NONE };
    let columns = labelled_features(hosts, &Config::default().features).into_iter().map(column).collect();
    let kept: Vec<&LabelledHost> =
        hosts.iter().enumerate().filter(|(n, _)| !left_out.contains(n)).map(|(_, host)| host).collect();
    let scale = Scale::new(step_ms, Constants::default());
    let data = collect_unlabelled(&kept, columns, scale)?.finish();
    let options = Options::DEFAULT;
    let fitted = fit(&data, &options, &mut |_| ControlFlow::Continue(()))?;
    let trained = bundle("left-out", "the unlabelled rows of other hosts", &data, &options, &fitted)?;
    Bundle::from_bytes(trained.bytes, "the model trained without the host")
}
