//! Parts of a date from seconds since 1970, in UTC, after the proleptic Gregorian calendar.

use crate::promql::program::DatePart;

const DAY_S: i64 = 86_400;

/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;

impl DatePart {
    /// The part of the second that `seconds` lies in; NaN where that is no time.
    #[must_use]
    pub(super) fn of(self, seconds: f64) -> f64 {
        // Go has no rule for what doesn't fit, and what Prometheus gives then is no date.
        if !(-9e18..=9e18).contains(&seconds) {
            return f64::NAN;
        }
        let seconds = seconds.trunc() as i64;
        let (days, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
        let (year, month, day) = civil(days);
        let part = match self {
            Self::Minute => second / 60 % 60,
            Self::Hour => second / 3600,
            // 1970-01-01 was a Thursday.
            Self::DayOfWeek => (days + 4).rem_euclid(7),
            Self::DayOfMonth => day,
            Self::DayOfYear => days - days_before(year, 1) + 1,
            Self::DaysInMonth if month == 12 => 31,
            Self::DaysInMonth => days_before(year, month + 1) - days_before(year, month),
            Self::Month => month,
            Self::Year => year,
        };
        part as f64
    }
}

/// Year, month and day of a day since 1970-01-01. A year is counted from its March here, so that the leap day is its last.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let from_march_0 = days + 719_468;
    let (era, day_of_era) = (from_march_0.div_euclid(ERA_DAYS), from_march_0.rem_euclid(ERA_DAYS));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: i64, month: i64) -> i64 {
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month_from_march + 2) / 5;
    era * ERA_DAYS + 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected`: year, month, day, day of year, days in month, day of week, hour, minute.
    fn check(seconds: f64, expected: [i64; 8]) {
        let parts = [
            DatePart::Year,
            DatePart::Month,
            DatePart::DayOfMonth,
            DatePart::DayOfYear,
            DatePart::DaysInMonth,
            DatePart::DayOfWeek,
            DatePart::Hour,
            DatePart::Minute,
        ];
        assert_eq!(parts.map(|part| part.of(seconds) as i64), expected, "{seconds}");
    }

    #[test]
    fn dates() {
        check(0.0, [1970, 1, 1, 1, 31, 4, 0, 0]);
        check(1_709_211_661.9, [2024, 2, 29, 60, 29, 4, 13, 1]);
        check(1_735_689_599.0, [2024, 12, 31, 366, 31, 2, 23, 59]);
        check(4_107_542_400.0, [2100, 3, 1, 60, 31, 1, 0, 0]); // 2100 has no leap day
        check(-1.0, [1969, 12, 31, 365, 31, 3, 23, 59]);
        check(-0.5, [1970, 1, 1, 1, 31, 4, 0, 0]); // cut towards zero, as Go does
        assert!(DatePart::Hour.of(f64::NAN).is_nan());
        assert!(DatePart::Hour.of(f64::INFINITY).is_nan());
    }
}
