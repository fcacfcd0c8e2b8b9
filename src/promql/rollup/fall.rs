//! Counters that go down: a restart, or a value that was wrong.

/// How a counter fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fall {
    /// As one does that begins anew: to less than half of what it was, and of what the range began with.
    Restart,
    /// To more than that. Nothing that begins anew counts so far before its next scrape: the lower value goes on from an earlier one, and
    /// what was between is wrong. As a restart it would give everything that was counted since the machine's start.
    Back,
}

impl Fall {
    /// That from `before` to `after`, where the range that it came in began with `first`.
    pub(super) fn new(first: f64, before: f64, after: f64) -> Self {
        if after > before / 2.0 || after >= first && after > 0.0 { Self::Back } else { Self::Restart }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_by_less_than_half_or_to_where_the_range_began_is_no_restart() {
        let check = |values: [f64; 3], expected: Fall| {
            assert_eq!(Fall::new(values[0], values[1], values[2]), expected, "{values:?}");
        };
        check([900.0, 1_000.0, 0.0], Fall::Restart);
        check([900.0, 1_000.0, 400.0], Fall::Restart);
        check([900.0, 1_000.0, 999.9], Fall::Back);
        check([900.0, 1_000.0, 501.0], Fall::Back);
        // One wrong value, however high.
        check([900.0, 1e15, 960.0], Fall::Back);
        check([900.0, 1e15, 300.0], Fall::Restart);
        check([0.0, 3.0, 0.0], Fall::Restart);
        check([-900.0, -800.0, -1_000.0], Fall::Restart);
    }
}
