//! The Server Machine Dataset as `<data>/smd/machine-*.npz`: one row a minute, labelled incidents in the second half.
//!
//! Owns the names of its columns. Where it can be had is in [`WHERE`].

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use ndarray::{Array1, Array2};
use ndarray_npy::NpzReader;

/// Distance of two rows, in milliseconds.
pub const STEP_MS: i64 = 60_000;

/// What to tell somebody who lacks the data.
pub const WHERE: &str = "the Server Machine Dataset is published by NetManAIOps/OmniAnomaly and zhhlee/InterFusion (MIT); \
     `<data>/smd/machine-<n>.npz` holds float32 `train` and `test` [rows, 38] and uint8 `label` [rows of test] of a host";

/// Column of the total memory, which never changes.
const TOTAL_MEMORY: usize = 7;

/// The features in the order of the columns, without the total memory.
pub const FEATURES: [&str; 37] = [
    "cpu_busy",
    "load1",
    "load5",
    "load15",
    "mem_shared",
    "mem_used_with_cache",
    "mem_used",
    "disk_queue",
    "disk_reads",
    "disk_read_bytes",
    "disk_service_time",
    "disk_utilisation",
    "disk_writes",
    "disk_await",
    "disk_written_bytes",
    "swap_in",
    "swap_out",
    "net_rx_bytes",
    "net_tx_bytes",
    "net_rx_packets",
    "net_tx_packets",
    "tcp_time_wait",
    "tcp_in_use",
    "tcp_active_opens",
    "tcp_established",
    "tcp_in_errors",
    "tcp_in_segments",
    "tcp_listen_overflows",
    "tcp_out_resets",
    "tcp_out_segments",
    "tcp_passive_opens",
    "tcp_retransmits",
    "tcp_timeouts",
    "udp_in_datagrams",
    "udp_out_datagrams",
    "udp_receive_buffer_errors",
    "udp_send_buffer_errors",
];

/// A labelled host.
#[derive(Debug, Clone)]
pub struct Host {
    /// `machine-1-6`
    pub name: String,
    /// `[rows × F]`: the unlabelled half, then the labelled one, which follows it directly.
    pub values: Array2<f32>,
    /// Rows of the unlabelled half.
    pub n_train: usize,
    /// Whether a row of the labelled half belongs to an incident.
    pub label: Vec<bool>,
}

/// All hosts of `<data>/smd`, by name.
///
/// # Errors
/// Where a file cannot be read or has other shapes.
pub fn read_hosts(data: &Path) -> anyhow::Result<Vec<Host>> {
    let folder = data.join("smd");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .with_context(|| format!("cannot read {}: {WHERE}", folder.display()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "npz"));
    ensure!(!paths.is_empty(), "no .npz files in {}: {WHERE}", folder.display());
    paths.sort();
    paths.iter().map(|path| read_host(path).with_context(|| format!("cannot read {}", path.display()))).collect()
}

fn read_host(path: &Path) -> anyhow::Result<Host> {
    let mut npz = NpzReader::new(File::open(path)?)?;
    let (train, test): (Array2<f32>, Array2<f32>) = (npz.by_name("train")?, npz.by_name("test")?);
    let label: Array1<u8> = npz.by_name("label")?;
    let columns = FEATURES.len() + 1;
    ensure!(train.ncols() == columns && test.ncols() == columns, "expected {columns} columns");
    ensure!(test.nrows() == label.len(), "{} labels for {} rows", label.len(), test.nrows());
    let kept: Vec<usize> = (0..columns).filter(|&column| column != TOTAL_MEMORY).collect();
    let values = ndarray::concatenate![ndarray::Axis(0), train, test].select(ndarray::Axis(1), &kept);
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Host { name, values, n_train: train.nrows(), label: label.iter().map(|&label| label != 0).collect() })
}
