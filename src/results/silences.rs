//! The silences that somebody asked for: made, listed, ended, kept over restarts.
//!
//! One that is about a label that hosts don't carry any more stays, and silences nothing.
//!
//! Owns no clock. What is in force together with the maintenance windows goes to whoever asks for [`Store::in_force`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::base::storage;
use crate::config::silence::hosts::HostLabels;
use crate::config::silence::{Silence, When};
use crate::promql::host_selector;
use crate::series::TimestampMs;

/// The file in the storage folder.
const FILE: &str = "silences.json";
/// The longest silence: a host that is to be left alone for longer should not be sent.
const LENGTH_MS_MAX: i64 = 366 * 86_400_000;
/// Longest comment and name, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// A start so long ago is a wrong unit, not a time.
const AGE_MS_MAX: i64 = 10 * 366 * 86_400_000;

/// A silence as somebody asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSilence {
    /// Id of the silence, given by this program.
    pub id: String,
    /// Request for it, as it was made.
    #[serde(flatten)]
    pub request: SilenceRequest,
}

/// Request for a silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceRequest {
    /// Which hosts: label matchers in braces.
    #[serde(rename = "match")]
    pub hosts: String,
    /// Start of the silence, inclusive.
    pub starts_ms: TimestampMs,
    /// End of the silence, exclusive.
    pub ends_ms: TimestampMs,
    /// Why; may be empty.
    pub comment: String,
    /// Author of the request; may be empty.
    pub created_by: String,
}

/// Why a silence is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The request makes no sense; what to write instead.
    Bad(String),
    /// There are as many as may be.
    Full(usize),
    /// It could not be written to the storage; it is not in force.
    NotKept(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(message) => f.write_str(message),
            Self::Full(most) => write!(f, "there are {most} silences; end some, or raise limits.silences"),
            Self::NotKept(error) => write!(f, "the silence could not be kept, so it is not in force: {error}"),
        }
    }
}

/// A silence that was asked for, and what it comes to or why it silences nothing.
type Entry = (StoredSilence, Result<Arc<Silence>, String>);

/// All silences that were asked for and are not over.
#[derive(Debug)]
pub struct Store {
    asked: Vec<Entry>,
    /// Labels that they may be about.
    labels: HostLabels,
    /// Those of the configuration.
    maintenance: Vec<Arc<Silence>>,
    /// File that they are kept in; `None` where they are not.
    path: Option<PathBuf>,
    /// The most there may be.
    n_max: usize,
    /// Grows with every change.
    version: u64,
}

/// Silences in force.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The maintenance windows, and what was asked for.
    pub silences: Arc<[Arc<Silence>]>,
    /// Grows with every change.
    pub version: u64,
}

impl Store {
    /// The silences kept in the folder `storage`, if there is one, beside those of `maintenance`; hosts carry `labels`.
    ///
    /// A file that cannot be read is left where it is, under another name, and the store is empty: said in the log.
    #[must_use]
    pub fn open(storage: Option<&Path>, maintenance: Vec<Arc<Silence>>, labels: HostLabels, n_max: usize) -> Self {
        if let Some(folder) = storage
            && let Err(error) = std::fs::create_dir_all(folder)
        {
            tracing::error!(%error, folder = %folder.display(), "cannot make the storage folder; silences cannot be kept");
        }
        let path = storage.map(|folder| folder.join(FILE));
        let asked = path.as_deref().map(|path| kept(path, &labels)).unwrap_or_default();
        Self { asked, labels, maintenance, path, n_max, version: 1 }
    }

    /// Why the silence of this id silences nothing; `None` where it does, or there is none.
    #[must_use]
    pub fn refused(&self, id: &str) -> Option<&str> {
        let (_, silence) = self.asked.iter().find(|(asked, _)| asked.id == id)?;
        silence.as_ref().err().map(String::as_str)
    }

    /// Those that are not over at `now_ms`, the one that ends first first.
    #[must_use]
    pub fn list(&self, now_ms: TimestampMs) -> Vec<&StoredSilence> {
        let mut list: Vec<&StoredSilence> = self.asked.iter().map(|(asked, _)| asked).collect();
        list.retain(|asked| asked.request.ends_ms > now_ms);
        list.sort_by(|a, b| (a.request.ends_ms, &a.id).cmp(&(b.request.ends_ms, &b.id)));
        list
    }

    /// Makes a silence.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn add(&mut self, request: SilenceRequest, now_ms: TimestampMs) -> Result<StoredSilence, Refused> {
        let bad = |message: String| Err(Refused::Bad(message));
        let hosts = self.labels.selector(&request.hosts);
        let hosts = hosts.map_err(|message| Refused::Bad(format!("`match`: {message}")))?;
        if request.ends_ms <= request.starts_ms || request.ends_ms <= now_ms {
            return bad("the silence would end before it begins, or is over already".to_owned());
        }
        if request.starts_ms < now_ms.saturating_sub(AGE_MS_MAX) {
            return bad("the silence begins more than ten years ago; are the units right?".to_owned());
        }
        if request.ends_ms.saturating_sub(request.starts_ms.max(now_ms)) > LENGTH_MS_MAX {
            return bad("a silence may last 366 days; for longer, do not send the hosts".to_owned());
        }
        for (key, text) in
            [("comment", &request.comment), ("created_by", &request.created_by), ("match", &request.hosts)]
        {
            if text.len() > TEXT_BYTES_MAX {
                return bad(format!("`{key}` has {} bytes; at most {TEXT_BYTES_MAX} are kept", text.len()));
            }
        }
        self.asked.retain(|(asked, _)| asked.request.ends_ms > now_ms);
        if self.asked.len() >= self.n_max {
            return Err(Refused::Full(self.n_max));
        }
        let id = self.new_id(now_ms);
        let when = When::Once(request.starts_ms, request.ends_ms);
        let silence = Silence { name: id.as_str().into(), hosts, when };
        let asked = StoredSilence { id, request };
        self.asked.push((asked.clone(), Ok(Arc::new(silence))));
        if let Err(error) = self.keep() {
            self.asked.pop();
            return Err(Refused::NotKept(format!("{error:#}")));
        }
        self.version += 1;
        Ok(asked)
    }

    /// Ends a silence; `None` where there is none of that id.
    ///
    /// # Errors
    /// It could not be taken from the storage, so it stays.
    pub fn end(&mut self, id: &str) -> Option<Result<StoredSilence, Refused>> {
        let place = self.asked.iter().position(|(asked, _)| asked.id == id)?;
        let ended = self.asked.remove(place);
        if let Err(error) = self.keep() {
            self.asked.insert(place, ended);
            return Some(Err(Refused::NotKept(format!("{error:#}"))));
        }
        self.version += 1;
        Some(Ok(ended.0))
    }

    /// Returns the silences that the engines are to be told.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        let asked = self.asked.iter().filter_map(|(_, silence)| silence.as_ref().ok().map(Arc::clone));
        InForce { silences: self.maintenance.iter().cloned().chain(asked).collect(), version: self.version }
    }

    /// The maintenance windows.
    #[must_use]
    pub fn maintenance(&self) -> &[Arc<Silence>] {
        &self.maintenance
    }

    /// Other maintenance windows from now on.
    pub fn set_maintenance(&mut self, maintenance: Vec<Arc<Silence>>) {
        self.maintenance = maintenance;
        self.version += 1;
    }

    /// By the time, so that they sort; counted up where two are made in one millisecond.
    fn new_id(&self, now_ms: TimestampMs) -> String {
        let taken = |id: &String| self.asked.iter().any(|(asked, _)| asked.id == *id);
        let mut ids = (now_ms.max(0)..).map(|number| format!("silence-{number:x}"));
        ids.find(|id| !taken(id)).unwrap_or_default()
    }

    fn keep(&self) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let asked: Vec<&StoredSilence> = self.asked.iter().map(|(asked, _)| asked).collect();
        let bytes = serde_json::to_vec_pretty(&asked)?;
        storage::replace(path, &bytes).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The silences in the file at `path`; none where there is no file.
fn kept(path: &Path, labels: &HostLabels) -> Vec<Entry> {
    let read = || -> anyhow::Result<Vec<Entry>> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            bytes => bytes?,
        };
        let asked: Vec<StoredSilence> = serde_json::from_slice(&bytes)?;
        asked.into_iter().map(|asked| entry(asked, labels)).collect()
    };
    read().unwrap_or_else(|error| {
        let aside = storage::move_aside(path);
        tracing::error!(error = format!("{error:#}"), file = %aside.display(), "cannot read the silences; there are none now");
        Vec::new()
    })
}

fn entry(asked: StoredSilence, labels: &HostLabels) -> anyhow::Result<Entry> {
    let hosts = host_selector(&asked.request.hosts).map_err(anyhow::Error::msg)?;
    if let Err(error) = labels.check(&hosts) {
        // It was fine by another configuration. For whom it was meant can't be told now, so it is for nobody.
        tracing::warn!(id = asked.id, hosts = asked.request.hosts, error, "a stored silence silences nothing");
        return Ok((asked, Err(error)));
    }
    let when = When::Once(asked.request.starts_ms, asked.request.ends_ms);
    let silence = Arc::new(Silence { name: asked.id.as_str().into(), hosts, when });
    Ok((asked, Ok(silence)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_795_392_000_000;
    const HOUR_MS: i64 = 3_600_000;

    fn request(hosts: &str, hours: (i64, i64)) -> SilenceRequest {
        SilenceRequest {
            hosts: hosts.into(),
            starts_ms: NOW_MS + hours.0 * HOUR_MS,
            ends_ms: NOW_MS + hours.1 * HOUR_MS,
            comment: "move".into(),
            created_by: "ada".into(),
        }
    }

    fn open(storage: Option<&Path>, n_max: usize) -> Store {
        Store::open(storage, Vec::new(), HostLabels::new("instance", &["job".to_owned()]), n_max)
    }

    #[test]
    fn silences_outlive_the_service() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(Some(folder.path()), 10);
        let first = store.add(request(r#"{job="db"}"#, (0, 2)), NOW_MS).unwrap();
        let second = store.add(request("{}", (1, 9)), NOW_MS).unwrap();
        assert_ne!(first.id, second.id);
        let InForce { silences: in_force, version } = store.in_force();
        assert_eq!((in_force.len(), version), (2, 3));
        let again = open(Some(folder.path()), 10);
        assert_eq!(again.list(NOW_MS), [&first, &second]);
        assert_eq!(again.list(NOW_MS + 3 * HOUR_MS), [&second]);
        assert_eq!(again.in_force().silences.len(), 2);
        assert_eq!(store.end(&first.id), Some(Ok(first)));
        assert_eq!(store.end("silence-0"), None);
        assert_eq!(open(Some(folder.path()), 10).list(NOW_MS), [&second]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_put_aside() {
        for text in [
            "",
            "{",
            "[{\"id\": 1}]",
            "[{\"id\":\"a\",\"match\":\"up\",\"starts_ms\":0,\"ends_ms\":1,\"comment\":\"\",\"created_by\":\"\"}]",
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(FILE), text).unwrap();
            let mut store = open(Some(folder.path()), 10);
            assert_eq!(store.list(NOW_MS).len(), 0, "{text}");
            assert_eq!(std::fs::read_to_string(folder.path().join("silences.json.unreadable")).unwrap(), text);
            store.add(request("{}", (0, 1)), NOW_MS).unwrap();
        }
    }

    #[test]
    fn a_stored_silence_of_a_label_that_is_not_kept_any_more_silences_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let with_env = HostLabels::new("instance", &["job".to_owned(), "env".to_owned()]);
        let mut before = Store::open(Some(folder.path()), Vec::new(), with_env.clone(), 10);
        let strange = before.add(request(r#"{env!="prod"}"#, (0, 9)), NOW_MS).unwrap();
        let usual = before.add(request(r#"{job="db"}"#, (0, 2)), NOW_MS).unwrap();
        let mut store = open(Some(folder.path()), 10);
        assert_eq!(store.list(NOW_MS), [&usual, &strange], "it stays in the file");
        let in_force: Vec<String> = store.in_force().silences.iter().map(|silence| silence.hosts.to_string()).collect();
        assert_eq!(in_force, [r#"{job="db"}"#]);
        assert!(store.refused(&strange.id).is_some_and(|why| why.contains("`identity.keep`")));
        assert_eq!(store.refused(&usual.id), None);
        // Writing the file again loses nothing: with the label it is in force again.
        store.add(request("{}", (0, 1)), NOW_MS).unwrap();
        let after = Store::open(Some(folder.path()), Vec::new(), with_env, 10);
        assert_eq!((after.in_force().silences.len(), after.refused(&strange.id)), (3, None));
        assert_eq!(store.end(&strange.id), Some(Ok(strange)));
    }

    #[test]
    fn what_is_refused() {
        let mut store = open(None, 2);
        let mut check = |request: SilenceRequest, expected: &str| {
            let refused = store.add(request, NOW_MS).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        };
        check(request("up", (0, 1)), "`match`: `up` is more than the labels of a host");
        check(request(r#"{env!="prod"}"#, (0, 1)), "`match`: hosts carry no label `env`");
        check(request("{}", (2, 1)), "end before it begins");
        check(request("{}", (-2, -1)), "is over already");
        check(request("{}", (0, 24 * 400)), "may last 366 days");
        check(SilenceRequest { starts_ms: 0, ..request("{}", (0, 1)) }, "are the units right?");
        check(SilenceRequest { comment: "a".repeat(2_000), ..request("{}", (0, 1)) }, "`comment` has 2000 bytes");
        check(
            SilenceRequest { starts_ms: i64::MIN, ends_ms: i64::MAX, ..request("{}", (0, 1)) },
            "are the units right?",
        );
        store.add(request("{}", (0, 1)), NOW_MS).unwrap();
        store.add(request("{}", (0, 5)), NOW_MS).unwrap();
        assert_eq!(store.add(request("{}", (0, 1)), NOW_MS), Err(Refused::Full(2)));
        // One is over by then.
        store.add(request("{}", (3, 4)), NOW_MS + 2 * HOUR_MS).unwrap();
    }

    #[test]
    fn what_cannot_be_kept_is_not_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("a file");
        std::fs::write(&gone, "").unwrap();
        let mut store = open(Some(&gone), 10);
        assert!(matches!(store.add(request("{}", (0, 1)), NOW_MS), Err(Refused::NotKept(_))));
        assert_eq!((store.list(NOW_MS).len(), store.in_force().version), (0, 1));
    }
}
