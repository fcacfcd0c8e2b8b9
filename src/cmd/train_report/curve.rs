//! The loss curve of a training as inline SVG.
//!
//! Owns the scales and the drawing; colours and sizes of text are in `page.css`.

use std::fmt::Write as _;

use crate::offline::train::fit::Judgement;

/// Of the drawing, in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
/// Of the plot in it: left, right, top, bottom. Room for the labels at the size that a narrow page gives them.
const PLOT: [f64; 4] = [76.0, 622.0, 36.0, 264.0];
/// Losses further apart than this factor are shown on a logarithmic axis.
const LINEAR_MAX: f64 = 8.0;
/// Ticks of an axis, about.
const TICKS: f64 = 5.0;

/// Marks that the curve shows beside itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    /// The held-back error of an untrained guess.
    pub(super) untrained: Option<f64>,
    /// Step at which the weights were taken.
    pub(super) best_step: usize,
}

/// One point per judgement and line; empty without any.
pub(super) fn svg(judgements: &[Judgement], marks: Marks) -> String {
    let Some(last) = judgements.last() else { return String::new() };
    let losses = judgements.iter().flat_map(|j| [Some(j.train), j.held_back]).flatten().chain(marks.untrained);
    let y = Axis::of_losses(losses.filter(|loss| loss.is_finite()));
    let x = Axis { low: 0.0, high: last.step.max(1) as f64, is_log: false };
    let [left, right, top, bottom] = PLOT;
    let at_x = |step: usize| left + x.share(step as f64) * (right - left);
    let at_y = |loss: f64| bottom - y.share(loss) * (bottom - top);
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Mean squared error by batches\">\n");
    for tick in y.ticks() {
        let at = at_y(tick.0);
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/>");
        let _ = writeln!(svg, "<text class=\"y\" x=\"{}\" y=\"{:.1}\">{}</text>", left - 8.0, at, tick.1);
    }
    for tick in x.ticks() {
        let at = left + x.share(tick.0) * (right - left);
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{at:.1} {bottom}v5\"/>");
        let _ = writeln!(svg, "<text class=\"x\" x=\"{at:.1}\" y=\"{}\">{}</text>", bottom + 22.0, tick.1);
    }
    let _ = writeln!(svg, "<path class=\"axis\" d=\"M{left} {bottom}H{right}\"/>");
    let _ =
        writeln!(svg, "<text class=\"x\" x=\"{}\" y=\"{}\">batches</text>", f64::midpoint(left, right), HEIGHT - 10.0);
    let _ = writeln!(svg, "<text class=\"unit\" x=\"0\" y=\"20\">mse, deviations²</text>");
    if let Some(untrained) = marks.untrained.filter(|loss| loss.is_finite()) {
        let _ = writeln!(svg, "<path class=\"untrained\" d=\"M{left} {:.1}H{right}\"/>", at_y(untrained));
    }
    type Loss = fn(&Judgement) -> Option<f64>;
    let lines: [(&str, &str, Loss); 2] =
        [("train", "learnt from", |j| Some(j.train)), ("held", "held back", |j| j.held_back)];
    for (class, name, loss) in lines {
        let points = judgements.iter().filter_map(|j| Some((j.step, loss(j).filter(|loss| loss.is_finite())?)));
        let points: Vec<(usize, f64)> = points.collect();
        let line: Vec<String> =
            points.iter().map(|&(step, loss)| format!("{:.1},{:.1}", at_x(step), at_y(loss))).collect();
        let _ = writeln!(svg, "<polyline class=\"{class}\" points=\"{}\"/>", line.join(" "));
        for (step, loss) in points {
            let (best, says) =
                if class == "held" && step == marks.best_step { (" best", ", the weights taken") } else { ("", "") };
            let radius = if best.is_empty() { 2.5 } else { 5.0 };
            let _ = writeln!(
                svg,
                "<circle class=\"{class}{best}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\"><title>{name}, after {step} batches: \
                 {loss:.4}{says}</title></circle>",
                at_x(step),
                at_y(loss)
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// From values to places.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
}

impl Axis {
    /// Around `losses` with some room; logarithmic where they are far apart.
    fn of_losses(losses: impl Iterator<Item = f64>) -> Self {
        let (low, high) = losses.fold((f64::INFINITY, 0.0_f64), |(low, high), loss| (low.min(loss), high.max(loss)));
        if low > 0.0 && high > LINEAR_MAX * low {
            return Self { low: low / 1.2, high: high * 1.2, is_log: true };
        }
        if high <= 0.0 {
            return Self { low: 0.0, high: 1.0, is_log: false };
        }
        let room = (0.08 * (high - low)).max(0.02 * high);
        Self { low: (low - room).max(0.0), high: high + room, is_log: false }
    }

    /// 0 at the low end, 1 at the high one.
    fn share(&self, value: f64) -> f64 {
        if self.is_log {
            return (value.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        }
        (value - self.low) / (self.high - self.low)
    }

    /// Round values with their labels, all as long as they must be.
    fn ticks(&self) -> Vec<(f64, String)> {
        if self.is_log {
            let decades = self.low.log10().floor() as i32..=self.high.log10().floor() as i32;
            let is_wide = self.high > 200.0 * self.low;
            let steps: &[f64] = if is_wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let all = decades.flat_map(|decade| steps.iter().map(move |step| (step * 10f64.powi(decade), decade)));
            let inside = all.filter(|(tick, _)| (self.low..=self.high).contains(tick));
            return inside.map(|(tick, decade)| (tick, format!("{tick:.*}", decimals(decade)))).collect();
        }
        let rough = (self.high - self.low) / TICKS;
        let decade = rough.log10().floor() as i32;
        let unit = 10f64.powi(decade);
        let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * unit).into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        let decade = step.log10().floor() as i32;
        (first..=last).map(|n| n as f64 * step).map(|tick| (tick, format!("{tick:.*}", decimals(decade)))).collect()
    }
}

/// Digits after the point of what is a multiple of 10^decade.
fn decimals(decade: i32) -> usize {
    usize::try_from(-decade).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let check = |losses: &[f64], expected: &[&str]| {
            let ticks = Axis::of_losses(losses.iter().copied()).ticks();
            assert_eq!(ticks.iter().map(|tick| tick.1.as_str()).collect::<Vec<_>>(), expected, "{losses:?}");
        };
        check(&[0.31, 0.42, 0.5], &["0.30", "0.35", "0.40", "0.45", "0.50"]);
        check(&[0.003, 0.9], &["0.01", "0.1", "1"]);
        check(&[0.05, 0.9], &["0.05", "0.1", "0.2", "0.5", "1"]);
        check(&[7.0], &["6.9", "7.0", "7.1"]);
        check(&[0.0], &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        check(&[], &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
    }

    #[test]
    fn points_lie_in_the_plot() {
        let judgement = |step: usize, train: f64, held_back: f64| Judgement { step, train, held_back: Some(held_back) };
        let judgements = [judgement(50, 0.9, 0.8), judgement(100, 0.5, f64::NAN), judgement(150, 0.02, 0.6)];
        let text = svg(&judgements, Marks { untrained: Some(0.7), best_step: 150 });
        let points = |class: &str| text.matches(&format!("<circle class=\"{class}")).count();
        assert_eq!((points("train"), points("held"), points("held best")), (3, 2, 1));
        assert!(!text.contains("NaN"), "{text}");
        for (name, range) in [("cx=\"", PLOT[0]..=PLOT[1]), ("cy=\"", PLOT[2]..=PLOT[3])] {
            for part in text.split(name).skip(1) {
                let at: f64 = part.split('"').next().unwrap().parse().unwrap();
                assert!(range.contains(&at), "{name}{at}");
            }
        }
        assert_eq!(svg(&[], Marks { untrained: None, best_step: 0 }), "");
    }
}
