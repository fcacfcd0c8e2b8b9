//! `outlierd check-config`: what `serve` would refuse of the file, its expressions and its bundle's manifest, without serving.
//!
//! The graph is not opened: that needs ONNX Runtime, which the machine that checks a file may lack.

use std::io::Write;
use std::path::PathBuf;

use crate::service::Plans;

/// Flags of `check-config`.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// The configuration file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Checks the file, its expressions and its bundle.
///
/// # Errors
/// Every mistake at once.
pub fn run(flags: &Flags) -> anyhow::Result<()> {
    let plans = Plans::new(super::serve::load(Some(&flags.file))?)?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}: ok, {} features, {} of them scored by {}",
        flags.file.display(),
        plans.config.features.len(),
        plans.scored.len(),
        plans.bundle.source
    )?;
    Ok(())
}
