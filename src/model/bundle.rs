//! A bundle: one `.onnx` file with the manifest in its metadata. Loads whole or not at all.

use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};

use super::manifest::{Detection, FORMAT, Kind, Manifest};
use super::onnx;
use crate::engine::standardise::Constants;

/// Rows of a window: more would cost the service too much memory per host.
pub const WINDOW_ROWS_MAX: usize = 10_000;
/// Longest interval between rows: a day.
const STEP_MS_MAX: i64 = 24 * 3_600_000;

/// The bundle that ships with the binary: trained on public server data, see models/README.md.
const BUILT_IN: &[u8] = include_bytes!("../../models/node-exporter.onnx");

/// A bundle whose manifest makes sense; the graph is checked against it by the session that opens it.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Manifest: what it says of itself.
    pub manifest: Manifest,
    /// The file.
    pub bytes: Arc<[u8]>,
    /// Source of the bundle, for messages.
    pub source: String,
}

impl Bundle {
    /// Reads a bundle from a file.
    ///
    /// # Errors
    /// The file cannot be read, is no ONNX file, or its manifest is missing or makes no sense.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read the bundle {}", path.display()))?;
        Self::from_bytes(bytes, &path.display().to_string())
    }

    /// The bundle that ships with the binary.
    ///
    /// # Errors
    /// As [`Bundle::from_bytes`]; a test holds that it doesn't.
    pub fn built_in() -> anyhow::Result<Self> {
        Self::from_bytes(BUILT_IN.to_vec(), "the built-in bundle")
    }

    /// Reads a bundle from memory; `source` is for messages.
    ///
    /// # Errors
    /// It is no ONNX file, or its manifest is missing or makes no sense.
    pub fn from_bytes(bytes: Vec<u8>, source: &str) -> anyhow::Result<Self> {
        let manifest = onnx::read_manifest(&bytes).and_then(checked).with_context(|| format!("cannot use {source}"))?;
        Ok(Self { manifest, bytes: bytes.into(), source: source.to_owned() })
    }

    /// Tells bundles apart: the same for the same file.
    #[must_use]
    pub fn id(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.bytes);
        hasher.finish()
    }

    /// Rows that the graph sees of a window of `window` rows.
    #[must_use]
    pub fn input_rows(&self, window: usize) -> usize {
        match self.manifest.kind {
            Kind::Forecast => window - 1,
            Kind::Reconstruct => window,
        }
    }
}

fn checked(manifest: Manifest) -> anyhow::Result<Manifest> {
    ensure!(manifest.format == FORMAT, "its manifest has format {}, this build reads {FORMAT}", manifest.format);
    let Manifest { window, step_ms, .. } = manifest;
    ensure!(
        (2..=WINDOW_ROWS_MAX).contains(&window),
        "its window is {window} rows: 2 to {WINDOW_ROWS_MAX} are possible"
    );
    ensure!((1..=STEP_MS_MAX).contains(&step_ms), "its step is {step_ms} ms: it must be over 0 and at most a day");
    ensure!(!manifest.features.is_empty(), "it has no features");
    ensure!(manifest.features.len() <= usize::from(u16::MAX), "it has more than 65535 features");
    let mut names: Vec<&str> = manifest.features.iter().map(|f| f.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        anyhow::bail!("it has the feature {} twice", pair[0]);
    }
    for (what, value) in positive(&manifest) {
        ensure!(value.is_finite() && value > 0.0, "its {what} is {value}: it must be over 0");
    }
    Ok(manifest)
}

/// Numbers that must be over 0, with their names.
fn positive(manifest: &Manifest) -> Vec<(&'static str, f64)> {
    let Detection { limit, smoothing_rows, short_smoothing_rows, short_weight, residual, .. } = &manifest.detection;
    let Constants { memory_s, warmup_s, winsor, floor, fast_s, range_s, .. } = manifest.standardisation;
    let mut numbers = vec![
        ("input_clip", f64::from(manifest.input_clip)),
        ("target_clip", f64::from(manifest.target_clip)),
        ("detection.limit", *limit),
        ("detection.smoothing_rows", *smoothing_rows),
        ("standardisation.memory_s", memory_s),
        ("standardisation.warmup_s", warmup_s),
        ("standardisation.winsor", winsor),
        ("standardisation.floor", floor),
        ("standardisation.fast_s", fast_s),
        ("standardisation.range_s", range_s),
    ];
    numbers.extend(short_smoothing_rows.map(|rows| ("detection.short_smoothing_rows", rows)));
    numbers.extend(short_weight.map(|weight| ("detection.short_weight", weight)));
    if let Some(residual) = residual {
        numbers.extend([
            ("detection.residual.memory_s", residual.memory_s),
            ("detection.residual.prior_s", residual.prior_s),
            ("detection.residual.days", residual.days),
            ("detection.residual.least", residual.least),
            ("detection.residual.winsor", residual.winsor),
            ("detection.residual.burst", residual.burst),
            ("detection.residual.burst_s", residual.burst_s),
        ]);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_bundle_loads() {
        let bundle = Bundle::built_in().unwrap();
        assert_eq!(bundle.manifest.kind, Kind::Forecast);
        assert_eq!(bundle.input_rows(bundle.manifest.window), bundle.manifest.window - 1);
    }

    #[test]
    fn what_is_no_bundle_is_refused_with_the_reason() {
        let check = |bytes: &[u8], expected: &str| {
            let error = Bundle::from_bytes(bytes.to_vec(), "x.onnx").unwrap_err();
            let text = format!("{error:#}");
            assert!(text.starts_with("cannot use x.onnx: ") && text.contains(expected), "{text}");
        };
        check(b"", "not an ONNX model");
        check(b"hello, this is a text file", "not an ONNX model");
        let with = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = Bundle::built_in().unwrap().manifest;
            change(&mut manifest);
            format!("{:#}", checked(manifest).unwrap_err())
        };
        assert!(with(&|m| m.window = 1).contains("2 to 10000 are possible"));
        assert!(with(&|m| m.window = usize::MAX).contains("2 to 10000 are possible"));
        assert!(with(&|m| m.step_ms = i64::MAX).contains("at most a day"));
        assert!(with(&|m| m.standardisation.winsor = -1.0).contains("standardisation.winsor is -1"));
        assert!(with(&|m| m.detection.short_weight = Some(f64::NAN)).contains("detection.short_weight is NaN"));
        assert!(with(&|m| m.step_ms = 0).contains("step"));
        assert!(with(&|m| m.features.clear()).contains("no features"));
        assert!(with(&|m| m.features[1].name = m.features[0].name.clone()).contains("twice"));
        assert!(with(&|m| m.input_clip = f32::NAN).contains("input_clip"));
        assert!(with(&|m| m.format = 9).contains("format 9"));
    }
}
