//! Writes a recording: bodies as they were received, and the index that [`super::recording`] reads.
//!
//! Owns the folder while it records, and how much goes into it. Never looks into a body; knows no clock.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::recording::INDEX;
use crate::base::storage;
use crate::decode::Encoding;
use crate::series::TimestampMs;

/// Cost of a body beside its bytes, on disk and in the index.
const BODY_COST: u64 = 256;

/// A recording that grows.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    entries: Vec<Entry>,
    /// Bytes that may still come.
    room: u64,
    /// Entries that the index on disk has.
    n_indexed: usize,
}

/// As the index has it.
#[derive(Debug, Serialize)]
struct Entry {
    file: String,
    bytes: usize,
    content_encoding: &'static str,
    received_ms: TimestampMs,
}

impl Recorder {
    /// Begins a recording of up to `bytes_max` in `folder`, which is made if need be.
    ///
    /// # Errors
    /// The folder cannot be written, or has a recording already.
    pub fn create(folder: &Path, bytes_max: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        if folder.join(INDEX).exists() {
            bail!("{} has a recording already; name another folder, or remove it", folder.display());
        }
        let mut recorder = Self { folder: folder.to_owned(), entries: Vec::new(), room: bytes_max, n_indexed: 0 };
        // Now, not after an hour of recording.
        recorder.replace_index()?;
        Ok(recorder)
    }

    /// Writes a body; `false` where there is no room for it, and then nothing is written.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, body: &[u8], encoding: Encoding, received_ms: TimestampMs) -> anyhow::Result<bool> {
        let Some(room) = self.room.checked_sub(body.len() as u64 + BODY_COST) else { return Ok(false) };
        let content_encoding = match encoding {
            Encoding::Snappy => "snappy",
            Encoding::Zstd => "zstd",
        };
        let file = format!("{:08}.{content_encoding}.bin", self.entries.len());
        let path = self.folder.join(&file);
        fs::write(&path, body).with_context(|| format!("cannot write {}", path.display()))?;
        self.room = room;
        self.entries.push(Entry { file, bytes: body.len(), content_encoding, received_ms });
        Ok(true)
    }

    /// Brings the index up to date. A reader finds the one before or the new one, whatever happens meanwhile.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_index(&mut self) -> anyhow::Result<()> {
        if self.n_indexed == self.entries.len() { Ok(()) } else { self.replace_index() }
    }

    fn replace_index(&mut self) -> anyhow::Result<()> {
        let path = self.folder.join(INDEX);
        let text = serde_json::to_vec(&self.entries).context("cannot write the index as JSON")?;
        storage::replace(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        self.n_indexed = self.entries.len();
        Ok(())
    }

    /// Bodies so far.
    #[must_use]
    pub fn n_bodies(&self) -> usize {
        self.entries.len()
    }

    /// Ends it: the index is up to date, or gone with nothing to list.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> anyhow::Result<usize> {
        if !self.entries.is_empty() {
            self.write_index()?;
            return Ok(self.entries.len());
        }
        // An index of nothing is no recording, and the folder can be used again.
        match fs::remove_file(self.folder.join(INDEX)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("cannot remove the empty index"),
            _ => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::history::recording::{Body, Recording};

    fn bodies(folder: &Path) -> Vec<(Vec<u8>, Encoding, Option<TimestampMs>)> {
        let plain = |body: Body| (body.bytes, body.encoding, body.received_ms);
        Recording::open(folder, 100).unwrap().map(|body| plain(body.unwrap())).collect()
    }

    #[test]
    fn what_was_recorded_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new/one");
        let mut recorder = Recorder::create(&folder, 1_000).unwrap();
        assert!(recorder.add(b"first", Encoding::Zstd, 7).unwrap());
        recorder.write_index().unwrap();
        assert!(recorder.add(b"second", Encoding::Snappy, 9).unwrap());
        // Not in the index yet: what happens now costs no more than this.
        assert_eq!(bodies(&folder), [(b"first".to_vec(), Encoding::Zstd, Some(7))]);
        assert_eq!(recorder.finish().unwrap(), 2);
        assert_eq!(bodies(&folder)[1], (b"second".to_vec(), Encoding::Snappy, Some(9)));
        let taken = Recorder::create(&folder, 1_000).unwrap_err();
        assert!(taken.to_string().contains("has a recording already"));
    }

    #[test]
    fn it_ends_where_there_is_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::create(folder.path(), 2 * (BODY_COST + 5)).unwrap();
        let fits = [5, 6, 5, 5].map(|n| recorder.add(&vec![0; n], Encoding::Snappy, 0).unwrap());
        assert_eq!(fits, [true, false, true, false]);
        assert_eq!(recorder.finish().unwrap(), 2);
        assert_eq!(bodies(folder.path()).len(), 2);
    }

    #[test]
    fn nothing_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            assert_eq!(Recorder::create(folder.path(), 1_000).unwrap().finish().unwrap(), 0);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
