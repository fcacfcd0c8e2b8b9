//! The report as a page: one HTML file that holds everything it shows.
//!
//! Names of hosts and features come from senders and files: all text goes through [`escaped`], and the page forbids scripts.

use std::fmt::Write as _;

use super::curve::{self, Marks};
use super::{Report, untrained};
use crate::model::manifest::Kind;
use crate::offline::train::fit::Options;

const STYLE: &str = include_str!("page.css");
/// A list of more names is folded.
const NAMES_OPEN: usize = 12;

/// The file.
pub(super) fn page(report: &Report<'_>) -> String {
    let name = escaped(&report.trained.manifest.name);
    let sections = [
        headline(report),
        trained_on(report),
        left_out(report),
        curve(report),
        features(report),
        quantiles(report),
        options(report.options),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Training of {name}</title>\n<style>\n{STYLE}</style>\n<h1>Training of <bdi>{name}</bdi></h1>\n{}</html>\n",
        sections.concat()
    )
}

/// Escapes `text` so that it may stand in HTML text and between quotes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push(char::REPLACEMENT_CHARACTER),
            c => safe.push(c),
        }
    }
    safe
}

/// Three figures, so that small errors stay comparable.
fn figure(x: f64) -> String {
    let digits = if x == 0.0 { 0 } else { 2 - x.abs().log10().floor() as i32 };
    if digits > 6 { format!("{x:.1e}") } else { format!("{x:.*}", usize::try_from(digits).unwrap_or(0)) }
}

fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.0095 { format!("{:.1} %", 100.0 * share) } else { format!("{:.0} %", 100.0 * share) }
}

/// Returns the name of the untrained guess.
fn guess(report: &Report<'_>) -> &'static str {
    match report.options.network.kind {
        Kind::Forecast => "the row before",
        Kind::Reconstruct => "the host’s own mean",
    }
}

fn headline(report: &Report<'_>) -> String {
    let (manifest, fitted) = (&report.trained.manifest, report.fitted);
    let mut html =
        format!("<p class=\"faint\">Bundle <span class=\"id\">{}</span></p>\n", escaped(&manifest.training.id));
    if let Some(warning) = report.warning() {
        let _ = writeln!(html, "<p class=\"warning\"><b>Warning:</b> {}</p>", escaped(&warning));
    }
    html.push_str("<ul class=\"tiles\">\n");
    let mut tile = |value: String, about: String| {
        let _ = writeln!(html, "<li><b>{value}</b><span>{about}</span></li>");
    };
    match &fitted.held_back {
        Some(errors) => {
            tile(figure(errors.network), "mean squared error on held-back rows, in deviations²".to_owned());
            let untrained = untrained(errors);
            let ratio = errors.network / untrained;
            let by = percent((1.0 - ratio).abs());
            let side = if ratio <= 1.0 { "less" } else { "more" };
            let which = if Some(untrained) == errors.persistence { "the row before" } else { "the host’s own mean" };
            tile(
                format!("{by} {side}"),
                format!("than the best guess without a model, {which}: {}", figure(untrained)),
            );
        }
        None => tile("–".to_owned(), "nothing was held back, so nothing says how good it is".to_owned()),
    }
    tile(report.data.hosts.len().to_string(), format!("hosts, {} rows", report.data.n_rows()));
    tile(report.data.columns.len().to_string(), format!("features, windows of {} rows", manifest.window));
    html.push_str("</ul>\n");
    html
}

fn trained_on(report: &Report<'_>) -> String {
    let mut html = "<h2>What was trained</h2>\n<dl>\n".to_owned();
    let data = ("data", report.trained.manifest.training.data.clone());
    let mut facts = report.facts();
    facts.insert(1, data);
    for (what, fact) in facts {
        let _ = writeln!(html, "<dt>{}</dt><dd><bdi>{}</bdi></dd>", escaped(what), escaped(&fact));
    }
    html.push_str("</dl>\n");
    html
}

fn left_out(report: &Report<'_>) -> String {
    let findings = report.findings;
    let mut html = String::new();
    if !findings.hosts.is_empty() {
        let n = findings.hosts.len();
        let _ = writeln!(
            html,
            "<details{}><summary>Hosts left out: {n}</summary>\n<table><tr><th>Host</th><th>Why</th></tr>",
            if n <= NAMES_OPEN { " open" } else { "" }
        );
        for (host, reason) in &findings.hosts {
            let (host, reason) = (escaped(host), escaped(reason));
            let _ = writeln!(html, "<tr><td class=\"name\"><bdi>{host}</bdi></td><td>{reason}</td></tr>");
        }
        html.push_str("</table></details>\n");
    }
    for (what, names) in findings.lists().into_iter().filter(|(_, names)| !names.is_empty()) {
        let open = if names.len() <= NAMES_OPEN { " open" } else { "" };
        let _ =
            write!(html, "<details{open}><summary>{}: {}</summary><ul class=\"names\">", escaped(what), names.len());
        for name in names {
            let _ = write!(html, "<li><bdi>{}</bdi></li>", escaped(name));
        }
        html.push_str("</ul></details>\n");
    }
    if html.is_empty() {
        html.push_str("<p>Nothing: every host and feature that came was learnt from.</p>\n");
    }
    format!("<h2>Left out, and doubtful</h2>\n{html}")
}

fn curve(report: &Report<'_>) -> String {
    let fitted = report.fitted;
    let untrained = fitted.held_back.as_ref().and_then(|errors| errors.persistence);
    let svg = curve::svg(&fitted.judgements, Marks { untrained, best_step: fitted.best_step });
    let mut html = "<h2>How the error fell</h2>\n".to_owned();
    if svg.is_empty() {
        html.push_str("<p>It was not judged on the way: it ended before.</p>\n");
        return html;
    }
    html.push_str("<figure>\n<ul class=\"legend\">");
    if fitted.held_back.is_some() {
        html.push_str("<li class=\"held\"><i></i>held-back rows (large point: the weights taken)</li>");
    }
    html.push_str("<li class=\"train\"><i></i>rows learnt from</li>");
    if untrained.is_some() {
        html.push_str("<li class=\"untrained\"><i></i>held-back rows, by the row before</li>");
    }
    let _ = writeln!(
        html,
        "</ul>\n{svg}<figcaption>Mean squared error, in deviations² of each feature, by batches of {} windows. Windows to learn from are \
         varied and thinned out at random, those held back are as they are: the two lines need not meet.</figcaption>\n</figure>",
        report.options.shape.batch
    );
    html
}

/// One line of the table of features.
struct FeatureLine<'a> {
    name: &'a str,
    model: Option<f64>,
    untrained: Option<f64>,
    /// The model's error over the untrained one.
    ratio: Option<f64>,
    missing: f64,
}

fn feature_lines<'a>(report: &'a Report<'_>) -> Vec<FeatureLine<'a>> {
    let hosts = &report.data.hosts;
    let n_rows: usize = hosts.iter().map(|host| host.n_rows).sum();
    let line = |(n, column): (usize, &'a crate::offline::train::dataset::Column)| {
        let errors = report.trained.errors.as_ref();
        let model = errors.and_then(|errors| errors.statistics.mean_square[n]);
        let untrained = errors.and_then(|errors| errors.untrained[n]);
        let n_present: usize = hosts.iter().map(|host| host.seen[n].n_present).sum();
        FeatureLine {
            name: &column.name,
            model,
            untrained,
            ratio: model.zip(untrained).filter(|(_, untrained)| *untrained > 0.0).map(|(model, of)| model / of),
            missing: 1.0 - n_present as f64 / n_rows.max(1) as f64,
        }
    };
    let mut lines: Vec<FeatureLine<'_>> = report.data.columns.iter().enumerate().map(line).collect();
    lines.sort_by(|a, b| a.ratio.unwrap_or(f64::INFINITY).total_cmp(&b.ratio.unwrap_or(f64::INFINITY)));
    lines
}

fn features(report: &Report<'_>) -> String {
    let guess = guess(report);
    let mut html = format!(
        "<h2>Features</h2>\n<p class=\"faint\">Mean squared error of the newest row on held-back rows, in \
         deviations²: of the model, of {guess}, and the one as a share of the other. At 100 % the model adds nothing.</p>\n\
         <div class=\"wide\"><table class=\"features\">\n<tr><th>Feature</th><th class=\"n\">Model</th><th class=\"n\">{}</th><th class=\"n\">Share</th><th class=\"share\"></th>\
         <th class=\"n\">Missing</th></tr>\n",
        if report.options.network.kind == Kind::Forecast { "Row before" } else { "Mean" }
    );
    let shown = |x: Option<f64>| x.map_or_else(|| "–".to_owned(), figure);
    for line in feature_lines(report) {
        let class = if line.ratio.is_some_and(|ratio| ratio > 1.0) { " class=\"worse\"" } else { "" };
        let bar = line.ratio.map_or_else(String::new, |ratio| bar(ratio, None));
        let _ = writeln!(
            html,
            "<tr{class}><td class=\"name\"><bdi>{}</bdi></td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n ratio\">{}</td>\
             <td class=\"share\">{bar}</td><td class=\"n\">{}</td></tr>",
            escaped(line.name),
            shown(line.model),
            shown(line.untrained),
            line.ratio.map_or_else(|| "–".to_owned(), percent),
            percent(line.missing)
        );
    }
    html.push_str("</table></div>\n");
    html
}

/// `share` of the full width; `mark` is where a line stands.
fn bar(share: f64, mark: Option<f64>) -> String {
    let place = |share: f64| 100.0 * share.clamp(0.0, 1.0);
    let mark = mark.map_or_else(String::new, |mark| format!("<u style=\"left:{:.1}%\"></u>", place(mark)));
    format!("<span class=\"bar\"><i style=\"width:{:.1}%\"></i>{mark}</span>", place(share))
}

fn quantiles(report: &Report<'_>) -> String {
    let manifest = &report.trained.manifest;
    let mut html = "<h2>What is usual</h2>\n".to_owned();
    let Some(errors) = &manifest.errors else {
        html.push_str("<p>Nothing was held back, so it is not known how large its errors are.</p>\n");
        return html;
    };
    let limit = manifest.detection.limit;
    let largest = errors.quantiles.iter().map(|quantile| quantile.mse).fold(limit, f64::max) * 1.02;
    let _ = writeln!(
        html,
        "<p class=\"faint\">The smoothed mse of {} held-back rows, as <code>outlierd_host_mse</code> shows it. A row over \
         the limit of {limit} (the line) counts as anomalous. Incidents among the rows make the highest ones \
         higher.</p>\n<table class=\"quantiles\">\n<tr><th>Rows below</th><th class=\"n\">mse</th><th class=\"share\"></th></tr>",
        errors.n_rows
    );
    for quantile in &errors.quantiles {
        let class = if quantile.mse > limit { " class=\"worse\"" } else { "" };
        let _ = writeln!(
            html,
            "<tr{class}><td>{} %</td><td class=\"n\">{}</td><td class=\"share\">{}</td></tr>",
            (quantile.q * 1e4).round() / 1e2,
            figure(quantile.mse),
            bar(quantile.mse / largest, Some(limit / largest))
        );
    }
    html.push_str("</table>\n");
    html
}

fn options(options: &Options) -> String {
    let (form, variation) = (&options.network, &options.augmentation);
    let kind = match form.kind {
        Kind::Forecast => "forecast",
        Kind::Reconstruct => "reconstruct",
    };
    let list = [
        ("--type", kind.to_owned()),
        ("--predict", if form.predicts_change { "change" } else { "level" }.to_owned()),
        ("--layers", form.layers.to_string()),
        ("--hidden", form.hidden.to_string()),
        ("--window", options.shape.window.to_string()),
        ("--steps", options.steps.to_string()),
        ("--batch", options.shape.batch.to_string()),
        ("--learning-rate", options.learning_rate.to_string()),
        ("--vary", variation.scale.to_string()),
        ("--whole", if variation.thins_out { "no" } else { "yes" }.to_owned()),
        ("--held-back-hosts", options.held_back.hosts.to_string()),
        ("--held-back-time", options.held_back.time.to_string()),
        ("--seed", options.seed.to_string()),
    ];
    let items: String =
        list.iter().map(|(flag, value)| format!("<dt><code>{flag}</code></dt><dd>{}</dd>\n", escaped(value))).collect();
    format!(
        "<h2>Options</h2>\n<p>The same rows and options give the same bundle.</p>\n<dl class=\"options\">\n{items}</dl>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let check = |text: &str, expected: &str| assert_eq!(escaped(text), expected);
        check("</td><script>x('&\")", "&lt;/td&gt;&lt;script&gt;x(&#39;&amp;&quot;)");
        check("a\u{0}\n\u{9b}b é", "a\u{fffd}\u{fffd}\u{fffd}b é");
    }

    #[test]
    fn figures_have_three_digits() {
        let check = |x: f64, expected: &str| assert_eq!(figure(x), expected);
        check(0.0, "0");
        check(0.197_12, "0.197");
        check(1.234, "1.23");
        check(45_678.0, "45678");
        check(0.000_123_4, "0.000123");
        check(0.000_012_3, "1.2e-5");
        assert_eq!([percent(0.004), percent(0.5), percent(0.0)], ["0.4 %", "50 %", "0 %"]);
    }
}
