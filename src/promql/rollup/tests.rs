//! Every function over random series, incremental against the naive evaluation of whole slices.

use proptest::prelude::*;

use super::*;
use crate::promql::labelset::LabelSets;
use crate::promql::naive;
use crate::series::STALE_NAN_BITS;

/// Some of a host's series, frame by frame, with a state per function.
struct Host {
    step_ms: i64,
    range_ms: i64,
    states: Vec<RangeState>,
    last: Vec<f64>,
    members: Vec<Member>,
}

impl Host {
    fn new(n_series: usize, step_ms: i64, range_ms: i64) -> Self {
        let labels = LabelSets::new([].into()).intern(crate::series::Labels::default());
        let new = |function: &RangeFunction| {
            let mut state = RangeState::new(Kind::new(*function, range_ms, step_ms, n_series));
            state.renumber(&[], n_series);
            state
        };
        Self {
            step_ms,
            range_ms,
            states: RangeFunction::ALL.iter().map(new).collect(),
            last: vec![ABSENT; n_series],
            members: (0..n_series as u32).map(|i| Member { place: i, position: i, labels }).collect(),
        }
    }

    fn push(&mut self, t_ms: i64, values: &[f64]) {
        let places: Vec<u32> = (0..values.len() as u32).collect();
        for state in &mut self.states {
            let (grid_ms, places, last) = (0, places.as_slice(), self.last.as_slice());
            let scratch = &mut Vec::new();
            let frame = FrameView { t_ms, first_place: 0, values };
            state.push(frame, &mut Context { grid_ms, places, last, may_grow: true, scratch });
        }
        for (last, value) in self.last.iter_mut().zip(values) {
            if !is_absent(*value) && !is_stale(*value) {
                *last = *value;
            }
        }
    }

    /// By function, by series.
    fn evaluate(&mut self, end_ms: i64) -> Vec<Vec<Option<f64>>> {
        assert_eq!(end_ms % self.step_ms, 0);
        let mut all = Vec::new();
        for (state, function) in self.states.iter_mut().zip(RangeFunction::ALL) {
            state.drop_until(end_ms - self.range_ms, self.range_ms);
            let value = |member: &Member| {
                let mut out = Vec::new();
                let step = Step { t_ms: end_ms, grid_ms: 0 };
                state.evaluate(function, self.range_ms, step, &[*member], &self.last, &mut out);
                out.first().map(|element| element.value)
            };
            all.push(self.members.iter().map(value).collect());
        }
        all
    }
}

fn rate(points: &[(i64, f64)], end_ms: i64, range_ms: i64, step_ms: i64) -> Option<f64> {
    let mut host = Host::new(1, step_ms, range_ms);
    for (t_ms, value) in points {
        host.push(*t_ms, &[*value]);
    }
    host.evaluate(end_ms)[0][0]
}

#[test]
fn rate_as_prometheus_documents_it() {
    let check = |points: &[(i64, f64)], end_ms: i64, range_ms: i64, expected: Option<f64>| {
        // Few panes, many panes.
        for step_ms in [30_000, 1_000] {
            let got = rate(points, end_ms, range_ms, step_ms);
            assert!(naive::same(got, expected), "{got:?} instead of {expected:?}");
        }
    };
    // 4 samples, 15 s apart, on the grid of the range: (0, 60] holds 15, 30, 45, 60; increase 3 over 45 s, extrapolated to 60 s.
    let on_grid = [(0, 10.0), (15_000, 11.0), (30_000, 12.0), (45_000, 13.0), (60_000, 14.0)];
    check(&on_grid, 60_000, 60_000, Some(3.0 * (60.0 / 45.0) / 60.0));
    // One sample is not enough: the range is open on the left.
    check(&[(0, 1.0), (60_000, 2.0)], 60_000, 60_000, None);
    // A reset adds what the counter had before it.
    check(&[(0, 100.0), (30_000, 110.0), (60_000, 5.0)], 60_000, 90_000, Some(15.0 * ((60.0 + 30.0) / 60.0) / 90.0));
}

#[test]
fn a_pane_of_any_number_of_frames() {
    let day_ms = 86_400_000;
    let points: Vec<(i64, f64)> = (1..70_000).map(|k| (k * 1_000, (k % 60_000) as f64)).collect();
    let samples: Vec<Sample> = points.iter().map(|(t_ms, value)| Sample { t_ms: *t_ms, value: *value }).collect();
    let expected = naive::range_value(RangeFunction::Rate, &samples, day_ms, day_ms);
    let mut host = Host::new(1, day_ms, day_ms);
    host.states.truncate(1);
    points.iter().for_each(|(t_ms, value)| host.push(*t_ms, &[*value]));
    let got = host.evaluate(day_ms)[0][0];
    assert!(expected.is_some() && naive::same(got, expected), "{got:?} instead of {expected:?}");
}

#[test]
fn resets_without_end_are_bounded_and_said() {
    let mut host = Host::new(2, 60_000, 120_000);
    host.states.truncate(1);
    let is_complete = |host: &Host, end_ms| host.states[0].is_complete(RangeFunction::Rate, 0, end_ms);
    // One at the border of the first pane, then one with every other sample of either series.
    (1..20_001).for_each(|t_ms| host.push(t_ms, &[(t_ms % 2) as f64, (t_ms % 2) as f64]));
    assert!(is_complete(&host, 60_000));
    (20_001..40_000).for_each(|t_ms| host.push(t_ms, &[(t_ms % 2) as f64, (t_ms % 2) as f64]));
    assert!(!is_complete(&host, 60_000) && !is_complete(&host, 120_000));
    assert!(host.states[0].is_complete(RangeFunction::Delta, 0, 60_000));
    (0..4).for_each(|k| host.push(130_000 + k * 30_000, &[k as f64, k as f64]));
    assert!(is_complete(&host, 240_000));
    assert!(host.evaluate(240_000)[0][0].is_some());
}

fn value() -> impl Strategy<Value = f64> {
    let odd =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, -5.0, 1e300, 1e-300, f64::from_bits(STALE_NAN_BITS), ABSENT];
    prop_oneof![8 => (0..1000u32).prop_map(f64::from), 1 => prop::sample::select(odd.to_vec())]
}

/// Whether two values differ by no more than rounding does where large numbers cancel, for functions that add many up: the naive
/// evaluation does not compensate. A slope is per second, and samples may be a millisecond apart.
fn is_rounding(function: RangeFunction, samples: &[Sample], got: Option<f64>, expected: Option<f64>) -> bool {
    let largest = samples.iter().map(|s| s.value.abs()).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let scale = match function {
        RangeFunction::Sum | RangeFunction::Avg | RangeFunction::Stddev => largest,
        RangeFunction::Stdvar => largest * largest,
        RangeFunction::Deriv => 1e3 * largest,
        _ => return false,
    };
    // Squares of 1e300 are beyond a number.
    let is_near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * scale || scale.is_infinite();
    matches!((got, expected), (Some(a), Some(b)) if is_near(a, b))
}

proptest! {
    #[test]
    fn incremental_equals_naive(
        frames in prop::collection::vec((1..40_000i64, prop::array::uniform3(value()), 0..4u8), 1..80),
        step_ms in prop_oneof![Just(15_000i64), Just(20_000), 1_000..60_000i64],
        range_ms in prop_oneof![Just(60_000i64), Just(120_000), 1_000..200_000i64],
    ) {
        let mut host = Host::new(3, step_ms, range_ms);
        let mut samples: [Vec<Sample>; 3] = Default::default();
        let mut end_ms = 0;
        let mut t_ms = 0;
        let last_ms = frames.iter().map(|(gap, ..)| gap).sum::<i64>() + 2 * range_ms;
        let mut frames = frames.into_iter().peekable();
        while end_ms < last_ms {
            while let Some((gap, values, to_border)) = frames.peek() {
                // Some frames come exactly on a step.
                let next_ms = if *to_border == 0 { (t_ms + gap + step_ms) / step_ms * step_ms } else { t_ms + gap };
                if next_ms > end_ms {
                    break;
                }
                t_ms = next_ms;
                host.push(t_ms, values);
                for (samples, value) in samples.iter_mut().zip(values).filter(|(_, value)| !is_absent(**value)) {
                    samples.push(Sample { t_ms, value: *value });
                }
                frames.next();
            }
            for (function, got) in RangeFunction::ALL.iter().zip(host.evaluate(end_ms)) {
                for (samples, got) in samples.iter().zip(got) {
                    let expected = naive::range_value(*function, samples, end_ms, range_ms);
                    let same = naive::same(got, expected) || is_rounding(*function, samples, got, expected);
                    prop_assert!(same, "{function:?} at {end_ms}: {got:?}, naive {expected:?}");
                }
            }
            end_ms += step_ms;
        }
    }
}
