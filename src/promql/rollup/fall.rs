//! Counters that move as none does: where a sample doesn't go on from the one before, what lies between is no increase.
//!
//! `rate` takes every fall for a restart. A counter that falls by less than half didn't begin anew, nor one that falls back to where it
//! was before it more than doubled, or rises again to where it was before it fell: one of its values was wrong. Of counters that have
//! counted little this is not always so (5, a restart, 3): it costs the rows of a range.

/// Ranges that a counter may take to fall back from a wrong value, or rise back.
pub(super) const OPEN_RANGES: i64 = 4;

/// A fall, or a rise to more than double, that may yet prove wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Open {
    /// The value before.
    before: f64,
    is_rise: bool,
    /// When, in a unit of the caller's.
    pub(super) at: i64,
}

/// Whether the sample `after` of a counter doesn't go on from the one `before`. `open` is what its earlier samples left open.
pub(super) fn is_doubtful(open: &mut Option<Open>, before: f64, after: f64, at: i64) -> bool {
    if after < before {
        if after > before / 2.0 {
            return true;
        }
        if open.is_some_and(|open| open.is_rise && after >= open.before) {
            *open = None;
            return true;
        }
        // Where it was before anything was open: it may rise back to there. Of several falls the highest.
        let level = match *open {
            Some(rise) if rise.is_rise => rise.before,
            Some(fall) => fall.before.max(before),
            None => before,
        };
        *open = Some(Open { before: level, is_rise: false, at });
        return false;
    }
    // One that restarted doubles too, until it has counted for a while.
    if before.is_nan() || after.is_nan() || after <= 2.0 * before {
        return false;
    }
    match *open {
        Some(fall) if !fall.is_rise && after >= fall.before => {
            *open = None;
            true
        }
        Some(_) => false,
        None => {
            *open = Some(Open { before, is_rise: true, at });
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By sample, from the second one on: whether it doesn't go on from the one before.
    #[track_caller]
    fn check(values: &[f64], expected: &[usize]) {
        let mut open = None;
        let pairs = values.windows(2).zip(1..);
        let doubtful = pairs.filter(|(pair, i)| is_doubtful(&mut open, pair[0], pair[1], *i as i64));
        assert_eq!(doubtful.map(|(_, i)| i).collect::<Vec<_>>(), expected, "{values:?}");
    }

    #[test]
    fn falls_and_rises_that_no_restart_explains() {
        check(&[1e9, 1e9, 1.1e9, 1.2e9], &[]);
        check(&[1e9, 0.0, 15.0, 30.0, 60.0, 90.0], &[]);
        check(&[1e9, 4e8, 5e8], &[]);
        check(&[1e9, 1e9 - 0.02, 1e9], &[1]);
        check(&[1e9, 5.1e8, 6e8], &[1]);
        // Too high for one scrape or several, and then right again.
        check(&[1e9, 1e15, 1e9 + 9.0], &[2]);
        check(&[1e9, 1e15, 1e15 + 3.0, 1e15 + 6.0, 1e9 + 9.0, 1e9 + 12.0], &[4]);
        check(&[0.0, 1e10, 0.0, 0.0], &[2]);
        // Too low.
        check(&[1e9, 0.0, 1e9 + 9.0], &[2]);
        check(&[1e9, 1.0, 4.0, 1e9 + 9.0, 1e9 + 12.0], &[3]);
        // As far as anybody can tell.
        check(&[0.0, 3.0, 4.0, 1.0], &[3]);
        // Restarts.
        check(&[5.0, 0.0, 3.0, 0.0, 3.0], &[]);
        check(&[-900.0, -800.0, -1_000.0], &[]);
        check(&[f64::NAN, 1.0, f64::NAN, f64::INFINITY, 0.0], &[]);
        check(&[5.0, f64::NAN, 100.0, 40.0], &[]);
        check(&[f64::NAN, 1e9, 1e15, 1e9 + 9.0], &[3]);
        check(&[1e9, 1e15, 0.0, 1e9 + 9.0], &[3]);
    }
}
