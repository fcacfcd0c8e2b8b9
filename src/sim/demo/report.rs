//! Findings, as text for a terminal: one line per fault, false alerts counted, and where to look.
//!
//! Pure: findings in, text out.

use std::fmt::Write as _;

use super::fault::{Expected, Fault};
use super::fleet::SCRAPE_INTERVAL_MS;
use super::watch::{Alert, Blame, Findings};
use crate::promql::duration::duration_short;
use crate::series::TimestampMs;

const MINUTE_MS: i64 = 60_000;

/// An alert that begins this long after a fault has ended still belongs to it: things swing back.
const AFTERMATH_MS: i64 = 30 * MINUTE_MS;

/// Verdict on a fault.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Flagged, so long after it began.
    Found {
        /// In simulated time.
        delay_ms: i64,
    },
    /// It should have been flagged and was not.
    Missed,
    /// It should not be flagged and was not.
    Quiet,
    /// It should not be flagged and was.
    Flagged {
        /// From the first to the last flagged row.
        for_ms: i64,
    },
    /// The host has the state that it should have.
    State(&'static str),
    /// Nothing was heard since the fault began; so long by simulated time.
    Unheard {
        /// From the newest sample to the end.
        for_ms: i64,
    },
    /// It has another one.
    WrongState(String),
}

/// A fault and what became of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The fault.
    pub fault: Fault,
    /// Instance that it befell.
    pub instance: String,
    /// Verdict on the fault.
    pub verdict: Verdict,
    /// The highest score while it was on.
    pub peak: Option<f64>,
    /// The features that the service named first.
    pub top: Vec<Blame>,
}

/// Judges one fault by what was seen of its host up to `end_ms`.
#[must_use]
pub fn judge(fault: &Fault, instance: &str, findings: &Findings, end_ms: TimestampMs) -> Outcome {
    let until_ms = (fault.to_ms + AFTERMATH_MS).min(end_ms);
    let alerts: Vec<Alert> = findings.alerts().into_iter().filter(|alert| belongs(alert, fault)).collect();
    let verdict = match (fault.kind.expected(), alerts.first(), alerts.last()) {
        (Expected::Flag, Some(first), _) => Verdict::Found { delay_ms: (first.from_ms - fault.from_ms).max(0) },
        (Expected::Flag, ..) => Verdict::Missed,
        (Expected::Nothing, Some(first), Some(last)) => {
            Verdict::Flagged { for_ms: last.to_ms - first.from_ms + SCRAPE_INTERVAL_MS }
        }
        (Expected::Nothing, ..) => Verdict::Quiet,
        (Expected::State(state), ..) if findings.state == state => Verdict::State(state),
        (Expected::Silence, ..) if findings.last_sample_ms <= fault.from_ms => {
            Verdict::Unheard { for_ms: end_ms - findings.last_sample_ms }
        }
        (Expected::State(_) | Expected::Silence, ..) => Verdict::WrongState(findings.state.clone()),
    };
    let first_reason = findings.reasons.iter().find(|reason| (fault.from_ms..=until_ms).contains(&reason.t_ms));
    Outcome {
        fault: fault.clone(),
        instance: instance.to_owned(),
        verdict,
        peak: findings.peak(fault.from_ms, until_ms),
        top: first_reason.map(|reason| reason.top.clone()).unwrap_or_default(),
    }
}

/// Whether an alert is the fault's doing.
#[must_use]
pub fn belongs(alert: &Alert, fault: &Fault) -> bool {
    alert.to_ms >= fault.from_ms && alert.from_ms <= fault.to_ms + AFTERMATH_MS
}

/// All that the report says.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The service, such as `http://127.0.0.1:9201`.
    pub base: String,
    /// Time at which the history ended.
    pub end_ms: TimestampMs,
    /// One per fault.
    pub outcomes: Vec<Outcome>,
    /// Alerts that belong to no fault, with their hosts.
    pub false_alerts: Vec<(String, Alert)>,
    /// Hosts without a fault.
    pub n_healthy: usize,
    /// Time in which a false alert could have been raised, over all hosts, in hours.
    pub host_hours: f64,
}

/// Widths of the columns before the reasons, in characters.
const WIDTHS: [usize; 6] = [17, 16, 12, 10, 20, 8];

/// Marks text for a terminal, or leaves it as it is.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether the reader is a terminal.
    pub colour: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }
}

impl Report {
    /// The report as text.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let mut out = String::new();
        let columns = ["FAULT", "HOST", "BEGAN", "LASTED", "RESULT", "SCORE"];
        let mut head: String = columns.iter().zip(WIDTHS).map(|(title, width)| format!("{title:<width$}")).collect();
        head.push_str("BECAUSE OF");
        let _ = writeln!(out, "{}", style.bold(&head));
        for outcome in &self.outcomes {
            self.line(&mut out, outcome, style);
        }
        out.push('\n');
        self.summary(&mut out);
        let _ = writeln!(out, "\n{}", style.bold("Where to look"));
        let worst = self.outcomes.iter().rfind(|o| matches!(o.verdict, Verdict::Found { .. }));
        let one = worst.or(self.outcomes.last()).map_or("{host}", |outcome| &outcome.instance);
        for (path, what) in [
            ("/".to_owned(), "a page for people"),
            ("/api/v1/hosts".to_owned(), "every host, its state and score"),
            (format!("/api/v1/hosts/{one}"), "one host: its rows, what was expected, what is to blame"),
            ("/metrics".to_owned(), "the same as Prometheus series, to scrape and alert on"),
        ] {
            let _ = writeln!(out, "  {:<52} {what}", format!("{}{path}", self.base));
        }
        out
    }

    fn line(&self, out: &mut String, outcome: &Outcome, style: Style) {
        let fault = &outcome.fault;
        let (result, code) = match &outcome.verdict {
            Verdict::Found { delay_ms } => (format!("flagged +{} min", delay_ms / MINUTE_MS), "32"),
            Verdict::Missed => ("MISSED".to_owned(), "31"),
            Verdict::Quiet => ("not flagged, right".to_owned(), "32"),
            Verdict::Flagged { for_ms } => (format!("flagged {} min", for_ms / MINUTE_MS), "33"),
            Verdict::State(state) => (format!("state {state}"), "32"),
            Verdict::Unheard { for_ms } => {
                (format!("unheard for {}", duration_short(for_ms / MINUTE_MS * MINUTE_MS)), "32")
            }
            Verdict::WrongState(state) => (format!("state {state}, WRONG"), "31"),
        };
        let began = format!("{} ago", duration_short(self.end_ms - fault.from_ms));
        let lasted =
            if fault.to_ms > self.end_ms { "still on".to_owned() } else { duration_short(fault.to_ms - fault.from_ms) };
        let peak = outcome.peak.map_or_else(|| "-".to_owned(), significant);
        let mut reasons: Vec<String> = outcome.top.iter().map(reason).collect();
        if let Verdict::Unheard { .. } = outcome.verdict {
            reasons = vec!["becomes stale after 5 minutes by the real clock".to_owned()];
        }
        let [a, b, c, d, e, f] = WIDTHS;
        let _ = write!(out, "{:<a$}{:<b$}{began:<c$}{lasted:<d$}", fault.kind.title(), outcome.instance);
        let _ = write!(out, "{}{peak:<f$}", style.paint(code, &format!("{result:<e$}")));
        let indent = WIDTHS.iter().sum();
        for (i, reason) in reasons.iter().enumerate() {
            let (line, indent) = if i == 0 { ("", 0) } else { ("\n", indent) };
            let _ = write!(out, "{line}{:indent$}{reason}", "");
        }
        out.push('\n');
    }

    fn summary(&self, out: &mut String) {
        let wanted = self.outcomes.iter().filter(|o| o.fault.kind.expected() == Expected::Flag).count();
        let mut delays: Vec<i64> = Vec::new();
        for outcome in &self.outcomes {
            if let Verdict::Found { delay_ms } = outcome.verdict {
                delays.push(delay_ms / MINUTE_MS);
            }
        }
        delays.sort_unstable();
        let _ = write!(out, "Found {} of {wanted} faults that should be flagged", delays.len());
        if let (Some(least), Some(most)) = (delays.first(), delays.last()) {
            let median = delays[delays.len() / 2];
            let _ = write!(out, ", after {least} to {most} simulated minutes (median {median})");
        }
        let _ = writeln!(out, ".");
        let _ = write!(
            out,
            "False alerts: {} in {:.0} host-hours ({} hosts without a fault, and the others outside theirs)",
            self.false_alerts.len(),
            self.host_hours,
            self.n_healthy
        );
        for (i, (instance, alert)) in self.false_alerts.iter().take(5).enumerate() {
            let began = duration_short(self.end_ms - alert.from_ms);
            let _ = write!(out, "{} {instance} {began} ago", if i == 0 { ":" } else { "," });
        }
        let more = self.false_alerts.len().saturating_sub(5);
        let _ = writeln!(out, "{}", if more > 0 { format!(" and {more} more.") } else { ".".to_owned() });
    }
}

/// The share of the error, the feature, its value then, what the model expected then, and what it was before.
fn reason(blame: &Blame) -> String {
    let value = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), |value| quantity(value, &blame.unit));
    let (c, before) = (&blame.contribution, value(blame.before));
    format!(
        "{:>3.0} % {} {}, before {before}, expected {}",
        100.0 * c.share,
        c.feature,
        value(c.actual),
        value(c.expected)
    )
}

/// A value as people read it: ratios in percent, short times in milliseconds, large numbers with a prefix.
fn quantity(value: f64, unit: &str) -> String {
    if unit == "ratio" {
        return format!("{} %", significant(100.0 * value));
    }
    if unit == "seconds" && value.abs() < 1.0 {
        return format!("{} ms", significant(1e3 * value));
    }
    let (scaled, prefix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    format!("{} {prefix}{unit}", significant(scaled)).trim_end().to_owned()
}

/// Three digits that say something.
fn significant(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.005 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::Kind;
    use super::*;

    #[test]
    fn values_read_well() {
        let check = |value, unit, text: &str| assert_eq!(quantity(value, unit), text);
        check(0.8123, "ratio", "81.2 %");
        check(12_345_678.0, "bytes/s", "12.3 Mbytes/s");
        check(4.0, "", "4.00");
        check(0.0, "ratio", "0.00 %");
        check(0.003_4, "seconds", "3.40 ms");
        check(0.000_12, "x", "1.2e-4 x");
        assert_eq!(duration_short(390 * MINUTE_MS), "6h30m");
    }

    #[test]
    fn a_fault_owns_the_alerts_it_causes_and_no_others() {
        let fault = Fault { host: 0, kind: Kind::CpuHog, from_ms: 100 * MINUTE_MS, to_ms: 130 * MINUTE_MS };
        let check = |from: i64, to: i64, expected: bool| {
            let alert = Alert { from_ms: from * MINUTE_MS, to_ms: to * MINUTE_MS };
            assert_eq!(belongs(&alert, &fault), expected, "{alert:?}");
        };
        check(90, 99, false);
        check(90, 105, true);
        check(104, 140, true);
        check(155, 160, true);
        check(161, 170, false);
    }

    #[test]
    fn a_fault_nobody_flagged_is_missed() {
        let fault = Fault { host: 0, kind: Kind::CpuHog, from_ms: 0, to_ms: 30 * MINUTE_MS };
        let outcome = judge(&fault, "web-00:9100", &Findings::default(), 60 * MINUTE_MS);
        assert_eq!(outcome.verdict, Verdict::Missed);
        let report = Report { outcomes: vec![outcome], end_ms: 60 * MINUTE_MS, ..Report::default() };
        let text = report.render(Style { colour: false });
        assert!(text.contains("MISSED") && text.contains("Found 0 of 1"), "{text}");
    }
}
