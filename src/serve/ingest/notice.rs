//! Notices in the log about what senders send, in words that name the key to set; and how many lines there may be.

use std::fmt;

use crate::series::TimestampMs;

/// Lines of an hour. A flood of new jobs must not become a flood of lines; all jobs are in `/api/v1/status`.
const LINES_MAX: usize = 10;
const HOUR_MS: i64 = 3_600_000;

/// Prefixes and labels that a line names.
const NAMED_MAX: usize = 8;

/// Something that begins; of each job once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// Samples that features would read belong to no host.
    NoIdentity {
        /// The value of `job`; "" where there is none.
        job: String,
        /// The label that they lack.
        identity: String,
        /// Labels that they have, the most frequent first.
        labels: Vec<String>,
        /// Whether other samples of the job are used.
        is_some: bool,
    },
    /// No feature reads any metric of the job.
    Unused {
        /// The value of `job`; "" where there is none.
        job: String,
        /// Beginnings of its metrics, the most telling first.
        prefixes: Vec<String>,
    },
    /// A feature reads a job that was said to be unused.
    UsedAfterAll {
        /// The value of `job`; "" where there is none.
        job: String,
    },
    /// There is more of it, which is not said any more for an hour.
    More,
}

impl Notice {
    /// Whether somebody should do something.
    pub(super) fn is_warning(&self) -> bool {
        !matches!(self, Self::UsedAfterAll { .. })
    }

    /// Says what is wrong and what to do, whatever the job.
    pub(super) fn advice(&self) -> String {
        match self {
            Self::NoIdentity { identity, labels, .. } => format!(
                "the label {identity:?}, which tells hosts apart, is missing, so they belong to no host; their labels are {}: set \
                 `identity.label` to the one that names the host and restart, or add {identity:?} where they are scraped or sent",
                list(labels)
            ),
            Self::Unused { prefixes, .. } => format!(
                "no feature reads metrics that begin with {}: add `features` that do, or don't send them (`write_relabel_configs` of \
                 Prometheus, `-remoteWrite.urlRelabelConfig` of vmagent)",
                list(prefixes)
            ),
            Self::UsedAfterAll { .. } => "features do read them".to_owned(),
            Self::More => format!("{LINES_MAX} lines of an hour are used up"),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = self.advice();
        let samples = |job: &str| match job {
            "" => "samples without a job".to_owned(),
            job => format!("samples of job {job:?}"),
        };
        match self {
            Self::NoIdentity { job, .. } | Self::Unused { job, .. } => {
                let some = if matches!(self, Self::NoIdentity { is_some: true, .. }) { "some " } else { "" };
                write!(f, "{some}{} are not used: {advice}; see /api/v1/status", samples(job))
            }
            Self::UsedAfterAll { job } => write!(f, "{} are used: {advice}", samples(job)),
            Self::More => write!(f, "more senders have no effect than are listed here: {advice}; see /api/v1/status"),
        }
    }
}

/// Quoted, since senders choose the names.
fn list(names: &[String]) -> String {
    let named: Vec<String> = names.iter().take(NAMED_MAX).map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    match (named.as_slice(), more) {
        ([], _) => "none".to_owned(),
        (_, 0) => named.join(", "),
        _ => format!("{} and {more} more", named.join(", ")),
    }
}

/// Count of the lines that there were.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// When the hour began in which lines are counted.
    since_ms: Option<TimestampMs>,
    n: usize,
}

impl Notices {
    /// Those of `found` that may still be said, and [`Notice::More`] in place of the first one that may not.
    pub(super) fn limit(&mut self, found: Vec<Notice>, now_ms: TimestampMs) -> Vec<Notice> {
        if found.is_empty() {
            return found;
        }
        if self.since_ms.is_none_or(|since_ms| now_ms.saturating_sub(since_ms) >= HOUR_MS) {
            *self = Self { since_ms: Some(now_ms), n: 0 };
        }
        let mut said = Vec::new();
        for notice in found {
            match self.n.cmp(&LINES_MAX) {
                std::cmp::Ordering::Less => said.push(notice),
                std::cmp::Ordering::Equal => said.push(Notice::More),
                std::cmp::Ordering::Greater => break,
            }
            self.n += 1;
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn lines_name_the_key_to_set() {
        let check = |notice: &Notice, is_warning: bool, expected: &str| {
            assert_eq!((notice.to_string().as_str(), notice.is_warning()), (expected, is_warning));
        };
        let (job, identity) = ("otel\n".to_owned(), "instance".to_owned());
        check(
            &Notice::NoIdentity { job, identity, labels: texts(&["host", "cpu"]), is_some: false },
            true,
            "samples of job \"otel\\n\" are not used: the label \"instance\", which tells hosts apart, is missing, so they belong to no \
             host; their labels are \"host\", \"cpu\": set `identity.label` to the one that names the host and restart, or add \"instance\" where \
             they are scraped or sent; see /api/v1/status",
        );
        let prefixes = texts(&["windows_", "b_", "c_", "d_", "e_", "f_", "g_", "h_", "i_", "j_"]);
        check(
            &Notice::Unused { job: "windows".to_owned(), prefixes },
            true,
            "samples of job \"windows\" are not used: no feature reads metrics that begin with \"windows_\", \"b_\", \"c_\", \"d_\", \"e_\", \"f_\", \
             \"g_\", \"h_\" and 2 more: add `features` that do, or don't send them (`write_relabel_configs` of Prometheus, \
             `-remoteWrite.urlRelabelConfig` of vmagent); see /api/v1/status",
        );
        check(
            &Notice::UsedAfterAll { job: "node".to_owned() },
            false,
            "samples of job \"node\" are used: features do read them",
        );
        check(
            &Notice::UsedAfterAll { job: String::new() },
            false,
            "samples without a job are used: features do read them",
        );
        check(
            &Notice::More,
            true,
            "more senders have no effect than are listed here: 10 lines of an hour are used up; see /api/v1/status",
        );
    }

    #[test]
    fn lines_of_an_hour_are_bounded() {
        let mut notices = Notices::default();
        let mut said = |n: usize, now_ms: i64| {
            let found = vec![Notice::UsedAfterAll { job: String::new() }; n];
            let said = notices.limit(found, now_ms);
            (said.len(), said.last() == Some(&Notice::More))
        };
        assert_eq!(said(0, 0), (0, false));
        assert_eq!(said(9, 5), (9, false));
        assert_eq!(said(50, 6), (2, true));
        assert_eq!(said(50, HOUR_MS + 4), (0, false));
        assert_eq!(said(10, HOUR_MS + 5), (10, false));
        assert_eq!(said(1, HOUR_MS + 6), (1, true));
    }
}
