//! The flags that say where history is read from, and for how long; the same for every command that reads some.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, bail, ensure};

use crate::base::clock::Clock;
use crate::offline::history::source::ServerType;
use crate::offline::history::source::chunk::Span;
use crate::offline::history::source::client::Address;
use crate::offline::history::source::reader::Request;
use crate::offline::history::{History, Origin};
use crate::series::TimestampMs;
use crate::setup::Setup;

/// Where history is.
#[derive(Debug, clap::Args)]
pub struct FromFlags {
    /// A database, such as http://vm:8428, or a recording: a folder of remote-write bodies with index.json.
    #[arg(long, value_name = "URL|PATH")]
    pub from: Option<String>,
    /// Where a database's history begins: how long ago, or seconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = moment, default_value = "14d")]
    pub since: Moment,
    /// Where it ends.
    #[arg(long, value_name = "TIME", value_parser = moment, default_value = "0")]
    pub until: Moment,
    /// What the database is, unless it shall be asked.
    #[arg(long, value_enum, value_name = "TYPE")]
    pub from_type: Option<ServerType>,
    /// A file with a bearer token for the database. A user goes into the URL.
    #[arg(long, value_name = "FILE")]
    pub bearer_token_file: Option<PathBuf>,
}

/// A point in time as flags give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before now.
    Ago(i64),
    /// Since 1970.
    At(TimestampMs),
}

impl Moment {
    fn at(self, now_ms: TimestampMs) -> TimestampMs {
        match self {
            Self::Ago(ms) => now_ms.saturating_sub(ms),
            Self::At(t_ms) => t_ms,
        }
    }
}

impl FromFlags {
    /// Begins to read what `--from` names, for the features of `setup`, which must have one shard.
    ///
    /// # Errors
    /// As [`History::open`]; a span that is empty.
    pub fn open(&self, setup: &Setup, cancelled: Arc<AtomicBool>) -> anyhow::Result<History> {
        let origin = self.origin(setup.config.limits.body_bytes, Clock::System.now_ms())?;
        History::open(origin, setup, cancelled)
    }

    fn origin(&self, body_bytes_max: usize, now_ms: TimestampMs) -> anyhow::Result<Origin> {
        let from = self.from.as_deref().context("--from is missing: name a database by its URL, or a recording")?;
        if !from.contains("://") {
            return Ok(Origin::Recording { path: from.into(), body_bytes_max });
        }
        let span = Span { start_ms: self.since.at(now_ms), end_ms: self.until.at(now_ms) };
        ensure!(span.len_ms() > 0, "--since must be before --until");
        if span.start_ms < 0 {
            bail!("--since is before 1970");
        }
        let address = Address { bearer_token_file: self.bearer_token_file.clone(), ..Address::new(from) };
        Ok(Origin::Database(Request { server: self.from_type, ..Request::new(address, span) }))
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Some(ms) = crate::config::duration_ms(text) {
        return Ok(Moment::Ago(ms));
    }
    let seconds = text.parse::<f64>().ok().filter(|s| (1.0..1e11).contains(s));
    let seconds = seconds.ok_or("must be how long ago, such as 14d, or seconds since 1970")?;
    Ok(Moment::At((seconds * 1_000.0).round() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(moment(text).ok().map(|m| m.at(1_795_330_000_000)), expected, "{text}");
        };
        check("0", Some(1_795_330_000_000));
        check("1h", Some(1_795_326_400_000));
        check("1795330081.812", Some(1_795_330_081_812));
        for wrong in ["", "soon", "-1h", "-5", "1e300", "NaN"] {
            check(wrong, None);
        }
    }
}
