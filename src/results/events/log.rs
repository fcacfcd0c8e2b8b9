//! Events on disk: a file of JSON lines that is appended to, and now and then written anew. The last line of an id counts.
//!
//! Lines that can't be read are left out and counted, writes that fail are tried again: events in memory don't depend on it. Never
//! knows which events there should be; that is the store's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::Event;
use crate::base::storage;

/// Name of the file in `--storage.path`.
pub const FILE_NAME: &str = "events.jsonl";

/// A file smaller than this is not worth writing anew.
const REWRITE_BYTES_MIN: u64 = 1 << 20;

/// Factor by which the file may grow with lines of events that have a newer one, before it is written anew.
const REWRITE_FACTOR: u64 = 4;

const VERSION: u32 = 1;

/// The first line: tells our file from others.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Heading {
    outlierd: String,
    version: u32,
}

/// Contents of a file.
#[derive(Debug, Default, PartialEq)]
pub struct Stored {
    /// In the order in which they began.
    pub events: Vec<Event>,
    /// Lines that could not be read.
    pub n_skipped: u64,
    /// Why the whole file was left alone, if it was.
    pub refused: Option<String>,
}

/// The file that is written.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    bytes_max: u64,
    /// `None` until the file was first written, and after a failure: then it must be written anew.
    file: Option<File>,
    /// Of the file.
    bytes: u64,
    /// Of the file when it was last written anew.
    bytes_rewritten: u64,
    /// Events that did not fit into `bytes_max` when it was last written anew.
    n_left_out: u64,
}

impl Log {
    /// The log in the folder `dir`, to be kept under `bytes_max`.
    #[must_use]
    pub fn new(dir: &Path, bytes_max: u64) -> Self {
        let path = dir.join(FILE_NAME);
        Self { path, bytes_max, file: None, bytes: 0, bytes_rewritten: 0, n_left_out: 0 }
    }

    /// Reads what is there. A file that isn't ours is moved aside, so that nothing is written over it.
    #[must_use]
    pub fn read(&self) -> Stored {
        let stored = match self.contents() {
            Ok(None) => Stored::default(),
            Ok(Some(bytes)) => parse(&bytes),
            Err(error) => Stored { refused: Some(format!("cannot read it: {error}")), ..Stored::default() },
        };
        if let Some(reason) = &stored.refused {
            let aside = storage::move_aside(&self.path);
            tracing::error!(file = %aside.display(), reason, "cannot use the stored events; there are none now");
        }
        stored
    }

    fn contents(&self) -> io::Result<Option<Vec<u8>>> {
        let metadata = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata?,
        };
        // A file of ours is written anew long before.
        let bytes_max = self.bytes_max.saturating_mul(REWRITE_FACTOR);
        if !metadata.is_file() || metadata.len() > bytes_max {
            return Err(io::Error::other(format!("no file of at most {bytes_max} bytes")));
        }
        fs::read(&self.path).map(Some)
    }

    /// Whether `append` can be called: not before `rewrite`, nor after a failure, nor where the file has grown too much.
    #[must_use]
    pub fn can_append(&self) -> bool {
        let most = self.bytes_rewritten.saturating_mul(REWRITE_FACTOR).max(REWRITE_BYTES_MIN).min(self.bytes_max);
        self.file.is_some() && self.bytes < most
    }

    /// Adds a line per event.
    ///
    /// # Errors
    /// The disk is full or gone. The file may end in the middle of a line: it is to be written anew.
    pub fn append(&mut self, events: &[Arc<Event>]) -> io::Result<()> {
        let Some(mut file) = self.file.take() else { return Err(io::Error::other("not open")) };
        let lines = lines(events)?;
        file.write_all(&lines)?;
        file.sync_data()?;
        self.bytes += lines.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    /// Writes the file anew with `events` alone, oldest first; as many of the newest as fit. The old file stays until the new one is
    /// on disk.
    ///
    /// # Errors
    /// The disk is full or gone; the old file is as it was.
    pub fn rewrite(&mut self, events: &[Arc<Event>]) -> io::Result<()> {
        self.file = None;
        let mut kept: Vec<Vec<u8>> = Vec::new();
        let heading = Heading { outlierd: "events".to_owned(), version: VERSION };
        let mut head = serde_json::to_vec(&heading)?;
        head.push(b'\n');
        let mut bytes = head.len() as u64;
        for event in events.iter().rev() {
            let line = lines(std::slice::from_ref(event))?;
            // Room for lines to come.
            if bytes + line.len() as u64 > self.bytes_max / 2 {
                break;
            }
            bytes += line.len() as u64;
            kept.push(line);
        }
        self.n_left_out = (events.len() - kept.len()) as u64;
        kept.push(head);
        kept.reverse();
        storage::replace(&self.path, &kept.concat())?;
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        (self.bytes, self.bytes_rewritten) = (bytes, bytes);
        Ok(())
    }

    /// Events that did not fit when the file was last written anew.
    #[must_use]
    pub fn n_left_out(&self) -> u64 {
        self.n_left_out
    }
}

fn lines(events: &[Arc<Event>]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for event in events {
        serde_json::to_writer(&mut lines, event.as_ref())?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Never fails: what is no event is skipped, and a text that doesn't begin as ours is refused.
fn parse(bytes: &[u8]) -> Stored {
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let Some(first) = lines.next() else { return Stored::default() };
    let refused = match serde_json::from_slice::<Heading>(first) {
        Ok(heading) if heading.outlierd != "events" => Some("it holds something else".to_owned()),
        Ok(heading) if heading.version != VERSION => {
            Some(format!("it has version {}, this outlierd reads {VERSION}", heading.version))
        }
        Ok(_) => None,
        Err(error) => Some(format!("its first line is none of outlierd's: {error}")),
    };
    if refused.is_some() {
        return Stored { refused, ..Stored::default() };
    }
    let mut stored = Stored::default();
    let mut places = std::collections::HashMap::new();
    for line in lines {
        match serde_json::from_slice::<Event>(line) {
            Ok(event) => match places.get(&event.id) {
                Some(&place) => stored.events[place] = event,
                None => {
                    places.insert(event.id.clone(), stored.events.len());
                    stored.events.push(event);
                }
            },
            Err(_) => stored.n_skipped += 1,
        }
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::events::event::Ending;

    fn event(id: &str, end_ms: Option<i64>) -> Arc<Event> {
        Arc::new(Event {
            id: id.into(),
            host: "a\"\n:9100".into(),
            labels: [("instance".to_owned(), "ü".to_owned())].into(),
            model: "m".into(),
            start_ms: -1,
            end_ms,
            ended: end_ms.map(|_| Ending::Cleared),
            last_ms: 5,
            score: 0.1,
            peak_score: f64::MAX,
            peak_ms: 3,
            features: Vec::new(),
        })
    }

    fn plain(events: &[Arc<Event>]) -> Vec<Event> {
        events.iter().map(|event| Event::clone(event)).collect()
    }

    const HEADING: &str = "{\"outlierd\":\"events\",\"version\":1}\n";

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path(), 1 << 20);
        assert_eq!(log.read(), Stored::default());
        assert!(!log.can_append() && log.append(&[event("a", None)]).is_err());
        log.rewrite(&[event("a", None), event("b", None)]).unwrap();
        assert!(log.can_append());
        log.append(&[event("c", None), event("a", Some(9))]).unwrap();
        let expected = plain(&[event("a", Some(9)), event("b", None), event("c", None)]);
        assert_eq!(log.read(), Stored { events: expected.clone(), ..Stored::default() });
        log.rewrite(&expected.into_iter().map(Arc::new).collect::<Vec<_>>()).unwrap();
        assert_eq!(log.read().events.len(), 3);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_file_that_grew_is_written_anew_with_what_fits() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path(), 10_000);
        log.rewrite(&[]).unwrap();
        let events: Vec<_> = (0..100).map(|i| event(&format!("{i:03}"), None)).collect();
        log.append(&events).unwrap();
        assert!(!log.can_append());
        log.rewrite(&events).unwrap();
        assert!(log.can_append());
        let kept = log.read().events;
        assert_eq!((kept.last().unwrap().id.as_str(), kept.len() as u64 + log.n_left_out()), ("099", 100));
        assert!((10..50).contains(&kept.len()), "{}", kept.len());
    }

    /// A file of these bytes: ids of the events read, lines skipped, whether it was refused.
    fn check(bytes: &[u8], expected: (&str, u64, bool)) {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path(), 1 << 20);
        let path = folder.path().join(FILE_NAME);
        std::fs::write(&path, bytes).unwrap();
        let stored = log.read();
        let ids: Vec<&str> = stored.events.iter().map(|event| event.id.as_str()).collect();
        let text = String::from_utf8_lossy(bytes);
        assert_eq!((ids.join(" ").as_str(), stored.n_skipped, stored.refused.is_some()), expected, "{text}");
        let aside = folder.path().join("events.jsonl.unreadable");
        assert_eq!(aside.exists(), stored.refused.is_some(), "{text}");
        if aside.exists() {
            assert_eq!(std::fs::read(aside).unwrap(), bytes);
        }
        log.rewrite(&[event("new", None)]).unwrap();
        assert_eq!(log.read().events.len(), 1);
    }

    #[test]
    fn torn_and_foreign_files() {
        let line = |id: &str| serde_json::to_string(&*event(id, None)).unwrap();
        let whole = format!("{HEADING}{}\n{}\n", line("a"), line("b"));
        check(whole.as_bytes(), ("a b", 0, false));
        // Cut anywhere, it is read up to there.
        for cut in 0..whole.len() {
            let expected = match cut {
                // Of the first line too little is left to tell whose it is.
                0 => ("", 0, false),
                _ if cut < HEADING.len() - 1 => ("", 0, true),
                _ => {
                    let ends = [HEADING.len() + line("a").len(), whole.len() - 1];
                    let n = ends.iter().filter(|end| cut >= **end).count();
                    let is_torn = cut > HEADING.len() && !ends.iter().any(|end| cut == *end || cut == end + 1);
                    (["", "a", "a b"][n], u64::from(is_torn), false)
                }
            };
            check(&whole.as_bytes()[..cut], expected);
        }
        check(format!("{HEADING}{{}}\nnonsense\n\u{0}\n{}\n", line("a")).as_bytes(), ("a", 3, false));
        check(b"\x00\xff\xfe binary", ("", 0, true));
        check(b"[]", ("", 0, true));
        check(b"{\"outlierd\":\"events\",\"version\":2}\n{}", ("", 0, true));
        check(b"{\"outlierd\":\"feedback\",\"version\":1}", ("", 0, true));
        check(&vec![b'x'; 5 << 20], ("", 0, true));
    }

    #[test]
    fn a_disk_that_cannot_be_written_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path(), 1 << 20);
        log.rewrite(&[event("a", None)]).unwrap();
        // Stands in the way of the new file, as a full disk does.
        let in_the_way = folder.path().join("events.jsonl.new");
        std::fs::create_dir(&in_the_way).unwrap();
        assert!(log.rewrite(&[event("b", None)]).is_err());
        assert!(!log.can_append() && log.append(&[event("c", None)]).is_err());
        assert_eq!(log.read().events, plain(&[event("a", None)]));
        std::fs::remove_dir(&in_the_way).unwrap();
        log.rewrite(&[event("b", None)]).unwrap();
        assert_eq!(log.read().events, plain(&[event("b", None)]));
    }
}
