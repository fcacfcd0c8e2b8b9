//! When a request that failed is tried again. Pure: the time is an argument, the jitter comes from a seed.

use crate::base::random::SplitMix64;
use crate::series::TimestampMs;

/// The shortest pause that a receiver can ask for: one that says `0` is not asked in a circle.
const ASKED_MIN_MS: i64 = 100;
/// The longest: the queue holds minutes, and a receiver that asks for more may have its clock wrong.
const ASKED_MAX_MS: i64 = 5 * 60_000;

/// Exponential, with jitter, reset by each success.
#[derive(Debug)]
pub struct Backoff {
    /// The first pause, before the jitter.
    min_ms: i64,
    /// The longest pause.
    max_ms: i64,
    /// Failures in a row.
    n_failures: u32,
    /// State of the jitter.
    random: SplitMix64,
}

impl Backoff {
    /// Pauses from about `min_ms` to `max_ms`.
    #[must_use]
    pub fn new(min_ms: i64, max_ms: i64, seed: u64) -> Self {
        Self { min_ms, max_ms, n_failures: 0, random: SplitMix64::new(seed) }
    }

    /// A request failed at `now_ms`, and its answer, if there was one, had this `Retry-After`: when to try again.
    ///
    /// ```text
    /// pause = min(max, min · 2ⁿ) · (1 + u) / 2, n failures before, u uniform in [0, 1)
    /// ```
    /// Half of it is drawn, so that several senders do not come back at the same time.
    pub fn failed(&mut self, now_ms: TimestampMs, retry_after: Option<&str>) -> TimestampMs {
        let factor = 2.0_f64.powi(self.n_failures.min(62) as i32);
        self.n_failures = self.n_failures.saturating_add(1);
        let asked = retry_after.and_then(|text| asked_ms(text, now_ms));
        let pause_ms = asked.unwrap_or_else(|| {
            let whole = (self.min_ms as f64 * factor).min(self.max_ms as f64);
            (whole * (1.0 + self.uniform()) / 2.0).ceil() as i64
        });
        now_ms.saturating_add(pause_ms)
    }

    /// A request went well.
    pub fn succeeded(&mut self) {
        self.n_failures = 0;
    }

    /// Failures since the last success.
    #[must_use]
    pub fn n_failures(&self) -> u32 {
        self.n_failures
    }

    /// In [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.random.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The pause of a `Retry-After`, which is seconds or a date (RFC 9110, section 10.2.3); `None` where it is neither.
fn asked_ms(text: &str, now_ms: TimestampMs) -> Option<i64> {
    let ms = match text.trim().parse::<u32>() {
        Ok(seconds) => i64::from(seconds) * 1_000,
        Err(_) => {
            let date = httpdate::parse_http_date(text.trim()).ok()?;
            let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
            i64::try_from(since_epoch.as_millis()).ok()?.saturating_sub(now_ms)
        }
    };
    Some(ms.clamp(ASKED_MIN_MS, ASKED_MAX_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_MS: i64 = 1_000;
    const MINUTE_MS: i64 = 60 * SECOND_MS;
    /// 2026-11-23 00:00:00 UTC.
    const NOW_MS: i64 = 1_795_392_000_000;

    /// When requests are made to a receiver that answers at once, but not well until `outage_ms` have passed.
    fn attempts(backoff: &mut Backoff, outage_ms: i64) -> Vec<i64> {
        let mut now_ms = NOW_MS;
        let mut attempts = vec![0];
        while now_ms - NOW_MS < outage_ms {
            now_ms = backoff.failed(now_ms, None);
            attempts.push(now_ms - NOW_MS);
        }
        backoff.succeeded();
        attempts
    }

    #[test]
    fn ten_minutes_of_500_cost_few_requests_and_are_over_soon_after() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(SECOND_MS, MINUTE_MS, seed);
            let times = attempts(&mut backoff, 10 * MINUTE_MS);
            assert!((15..=26).contains(&times.len()), "seed {seed}: {times:?}");
            let last = *times.last().unwrap();
            assert!((10 * MINUTE_MS..11 * MINUTE_MS).contains(&last), "seed {seed}: {last}");
            for (n, pause) in times.windows(2).map(|pair| pair[1] - pair[0]).enumerate() {
                let whole = (SECOND_MS << n.min(20)).min(MINUTE_MS);
                assert!((whole / 2..=whole).contains(&pause), "seed {seed}, pause {n}: {pause}");
            }
            // What went well is forgotten.
            assert!(backoff.failed(0, None) <= SECOND_MS);
        }
    }

    #[test]
    fn the_jitter_is_the_seeds() {
        let of = |seed| attempts(&mut Backoff::new(SECOND_MS, MINUTE_MS, seed), MINUTE_MS);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn a_pause_that_is_asked_for_is_kept() {
        let check = |header: &str, expected_ms: i64| {
            let mut backoff = Backoff::new(MINUTE_MS, 60 * MINUTE_MS, 1);
            assert_eq!(backoff.failed(NOW_MS, Some(header)) - NOW_MS, expected_ms, "{header}");
        };
        check("7", 7 * SECOND_MS);
        check(" 90 ", 90 * SECOND_MS);
        check("0", 100);
        check("4000000000", 5 * MINUTE_MS);
        check("Mon, 23 Nov 2026 00:00:09 GMT", 9 * SECOND_MS);
        check("Mon, 23 Nov 2020 00:00:00 GMT", 100);
        for neither in ["", "soon", "-1", "1.5", "99999999999"] {
            let due_ms = Backoff::new(MINUTE_MS, 60 * MINUTE_MS, 1).failed(NOW_MS, Some(neither));
            assert!((MINUTE_MS / 2..=MINUTE_MS).contains(&(due_ms - NOW_MS)), "{neither}");
        }
    }

    #[test]
    fn nothing_overflows() {
        let mut backoff = Backoff::new(1, i64::MAX, 3);
        for _ in 0..5_000 {
            assert!(backoff.failed(NOW_MS, None) >= NOW_MS);
        }
        backoff.n_failures = u32::MAX;
        assert!(backoff.failed(i64::MAX, None) == i64::MAX && backoff.n_failures() == u32::MAX);
    }
}
