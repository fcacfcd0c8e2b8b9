//! `outlierd check-config`: what `serve` would refuse of the file, its expressions and its bundle's manifest, without serving;
//! and, when asked, what the features are.
//!
//! The graph is not opened: that needs ONNX Runtime, which the machine that checks a file may lack.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;

use crate::setup::Setup;

/// Expressions begin here, under their feature.
const INDENT: &str = "    ";

/// Flags of `check-config`.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// The configuration file. Without it the built-in preset and bundle are checked.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The same, as `serve` has it.
    #[arg(long = "config.file", value_name = "FILE", conflicts_with = "file")]
    pub config_file: Option<PathBuf>,
    /// List the features: name, unit, least deviation that matters, bounds, whether the bundle scores it, meaning.
    #[arg(long)]
    pub show_features: bool,
    /// List the features, each with its expression.
    #[arg(long)]
    pub show_expressions: bool,
}

/// Checks the file, its expressions and its bundle.
///
/// # Errors
/// Every mistake at once.
pub fn run(flags: &Flags) -> anyhow::Result<()> {
    let file = flags.file.as_deref().or(flags.config_file.as_deref());
    let setup = Setup::new(super::serve::load(file)?)?;
    let mut out = std::io::stdout().lock();
    for warning in setup.warnings() {
        writeln!(out, "warning: {warning}")?;
    }
    if flags.show_features || flags.show_expressions {
        let table = table(&setup, flags.show_expressions, out.is_terminal());
        out.write_all(table.as_bytes())?;
    }
    writeln!(
        out,
        "{}: ok, {} features, {} of them scored by {}",
        file.map_or_else(|| "without a file".to_owned(), |file| file.display().to_string()),
        setup.config.features.len(),
        setup.scored.len(),
        setup.bundle.source
    )?;
    Ok(())
}

/// One line per feature, under a heading; `expressions` adds lines. Colours are for a `terminal`.
fn table(setup: &Setup, expressions: bool, terminal: bool) -> String {
    let (bold, dim, plain) = if terminal { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
    let features = &setup.config.features;
    let floors: Vec<String> = features.iter().map(|feature| feature.floor.to_string()).collect();
    let bounds: Vec<String> = features.iter().map(|feature| feature.bounds.to_string()).collect();
    let width = |heading: &str, widths: &mut dyn Iterator<Item = &str>| {
        widths.map(|text| text.chars().count()).fold(heading.len(), usize::max)
    };
    let name_width = width("NAME", &mut features.iter().map(|feature| feature.name.as_str()));
    let unit_width = width("UNIT", &mut features.iter().map(|feature| feature.unit.as_str()));
    let floor_width = width("FLOOR", &mut floors.iter().map(String::as_str));
    let bounds_width = width("BOUNDS", &mut bounds.iter().map(String::as_str));
    let line = |[name, unit, floor, bounds, scored, help]: [&str; 6]| {
        let numbers = format!("{floor:>floor_width$}  {bounds:bounds_width$}");
        format!("{name:name_width$}  {unit:unit_width$}  {numbers}  {scored:6}  {help}").trim_end().to_owned()
    };
    let mut text = format!("{bold}{}{plain}\n", line(["NAME", "UNIT", "FLOOR", "BOUNDS", "SCORED", "MEANING"]));
    for (((i, feature), floor), bounds) in (0_u16..).zip(features).zip(&floors).zip(&bounds) {
        let scored = if setup.scored.contains(&i) { "yes" } else { "no" };
        text.push_str(&line([&feature.name, &feature.unit, floor, bounds, scored, &feature.help]));
        text.push('\n');
        for part in feature.expr.lines().filter(|_| expressions) {
            text.push_str(&format!("{INDENT}{dim}{}{plain}\n", part.trim()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_preset_is_readable_at_120_columns() {
        let setup = Setup::new(Config::default()).unwrap();
        let table = table(&setup, false, false);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 1 + setup.config.features.len());
        assert!(lines[1].contains("  0..1 "), "{table}");
        assert!(lines.iter().all(|line| line.len() <= 120), "{table}");
        assert_eq!(lines.iter().filter(|line| line.contains("  yes     ")).count(), setup.scored.len(), "{table}");
    }

    #[test]
    fn expressions_stand_under_their_feature() {
        let text = "features:\n- name: ups\n  expr: |\n    sum(up)\n      + 0\n  help: Targets\n";
        let setup = Setup::new(crate::config::parse("o.yaml", text).unwrap()).unwrap();
        let check = |terminal, expected: &str| {
            let table = table(&setup, true, terminal);
            assert_eq!(table.lines().skip(1).take(3).collect::<Vec<_>>().join("\n"), expected);
        };
        let ups = "ups                                             0           no      Targets";
        check(false, &format!("{ups}\n    sum(up)\n    + 0"));
        check(true, &format!("{ups}\n    \u{1b}[2msum(up)\u{1b}[0m\n    \u{1b}[2m+ 0\u{1b}[0m"));
    }
}
