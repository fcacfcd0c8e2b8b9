//! A recording: remote-write bodies as they were received, in their order.
//!
//! It is a folder with `index.json`, a list of `{"file", "content_encoding", "received_ms"}` of which `file` alone is needed,
//! or one body. Owns how that is read, one body at a time; never looks into a body.

use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::decode::Encoding;
use crate::series::TimestampMs;

/// The file that lists a folder's bodies.
pub(super) const INDEX: &str = "index.json";

/// One body, as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Path that it was read from.
    pub path: PathBuf,
    /// As received, compressed.
    pub bytes: Vec<u8>,
    /// Encoding that its sender said, or that its first bytes say.
    pub encoding: Encoding,
    /// Time at which it was received, where the recording knows.
    pub received_ms: Option<TimestampMs>,
}

/// Entry of a body in the index. It may say more, such as `headers`, which is for people.
#[derive(Debug, Deserialize)]
struct Entry {
    /// Relative to the folder.
    file: PathBuf,
    /// `snappy` or `zstd`.
    content_encoding: Option<String>,
    /// See [`Body::received_ms`].
    received_ms: Option<TimestampMs>,
}

/// The bodies that are left, in the order of the index. It ends for good with the first error.
#[derive(Debug)]
pub struct Recording {
    folder: PathBuf,
    entries: std::vec::IntoIter<Entry>,
    /// `limits.body`.
    body_bytes_max: usize,
}

impl Recording {
    /// The recording in the folder at `path`, or the one body in the file at `path`.
    ///
    /// # Errors
    /// There is none, or its index is malformed. Bodies are opened when their turn comes.
    pub fn open(path: &Path, body_bytes_max: usize) -> anyhow::Result<Self> {
        let is_folder = path.metadata().with_context(|| format!("cannot read {}", path.display()))?.is_dir();
        let (folder, entries) = if is_folder {
            (path.to_owned(), read_index(&path.join(INDEX))?)
        } else {
            (PathBuf::new(), vec![Entry { file: path.to_owned(), content_encoding: None, received_ms: None }])
        };
        Ok(Self { folder, entries: entries.into_iter(), body_bytes_max })
    }

    /// Returns the number of bodies that are left.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn read(&self, entry: Entry) -> anyhow::Result<Body> {
        let path = self.folder.join(entry.file);
        let mut bytes = Vec::new();
        let most = u64::try_from(self.body_bytes_max)?.saturating_add(1);
        let read = File::open(&path).and_then(|file| file.take(most).read_to_end(&mut bytes));
        read.with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(
            bytes.len() <= self.body_bytes_max,
            "{}: larger than {} bytes; raise `limits.body` in the configuration",
            path.display(),
            self.body_bytes_max
        );
        let encoding = match entry.content_encoding.as_deref() {
            None => Encoding::of(&bytes),
            Some("snappy") => Encoding::Snappy,
            Some("zstd") => Encoding::Zstd,
            Some(other) => bail!("{}: its content_encoding must be snappy or zstd, not {other}", path.display()),
        };
        Ok(Body { path, bytes, encoding, received_ms: entry.received_ms })
    }
}

impl Iterator for Recording {
    type Item = anyhow::Result<Body>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        let body = self.read(entry);
        if body.is_err() {
            self.entries = Vec::new().into_iter();
        }
        Some(body)
    }
}

fn read_index(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = std::fs::read(path).with_context(|| {
        format!("cannot read {}: a recording is a folder of bodies with {INDEX}, or one body", path.display())
    })?;
    let entries: Vec<Entry> = serde_json::from_slice(&text).with_context(|| {
        format!("{}: must be a list of objects, each with `file` and perhaps `content_encoding`", path.display())
    })?;
    ensure!(!entries.is_empty(), "{}: lists no body", path.display());
    // A recording may come from someone else: it names its own files alone.
    let is_inside = |entry: &&Entry| entry.file.components().all(|part| matches!(part, Component::Normal(_)));
    if let Some(entry) = entries.iter().find(|entry| !is_inside(entry) || entry.file.as_os_str().is_empty()) {
        bail!("{}: `{}` is not a file in that folder; name it relative to it", path.display(), entry.file.display());
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZSTD: [u8; 5] = [0x28, 0xb5, 0x2f, 0xfd, 0];

    fn folder(index: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(INDEX), index).unwrap();
        std::fs::write(folder.path().join("a"), b"one").unwrap();
        std::fs::write(folder.path().join("b"), ZSTD).unwrap();
        folder
    }

    #[test]
    fn bodies_come_in_the_order_of_the_index() {
        let folder = folder(
            r#"[{"file": "b", "received_ms": 7}, {"file": "a", "bytes": 3, "content_encoding": "zstd"}, {"file": "a"}]"#,
        );
        let bodies: Vec<Body> = Recording::open(folder.path(), 9).unwrap().map(Result::unwrap).collect();
        let body = |name: &str, bytes: &[u8], encoding, received_ms| Body {
            path: folder.path().join(name),
            bytes: bytes.to_vec(),
            encoding,
            received_ms,
        };
        let expected = [
            body("b", &ZSTD, Encoding::Zstd, Some(7)),
            body("a", b"one", Encoding::Zstd, None),
            body("a", b"one", Encoding::Snappy, None),
        ];
        assert_eq!(bodies, expected);
        let alone: Vec<Body> = Recording::open(&folder.path().join("b"), 9).unwrap().map(Result::unwrap).collect();
        assert_eq!(alone, [body("b", &ZSTD, Encoding::Zstd, None)]);
    }

    #[test]
    fn what_is_no_recording_is_refused_with_its_name() {
        let check = |index: &str, expected: &str| {
            let folder = folder(index);
            let bodies =
                Recording::open(folder.path(), 4).and_then(|recording| recording.collect::<Result<Vec<_>, _>>());
            let message = format!("{:#}", bodies.unwrap_err());
            let path = format!("{}/", folder.path().display());
            assert!(message.contains(&path) && message.contains(expected), "{message}");
        };
        check("", "index.json: must be a list of objects");
        check("[]", "index.json: lists no body");
        check("{}", "index.json: must be a list of objects");
        check(r#"[{"name": "a"}]"#, "missing field `file` at line 1 column 14");
        check(r#"[{"file": "../a"}]"#, "index.json: `../a` is not a file in that folder");
        check(r#"[{"file": "/etc/hostname"}]"#, "is not a file in that folder");
        check(r#"[{"file": ""}]"#, "is not a file in that folder");
        check(r#"[{"file": "a"}, {"file": "c"}]"#, "/c: No such file or directory");
        check(
            r#"[{"file": "a", "content_encoding": "gzip"}]"#,
            "/a: its content_encoding must be snappy or zstd, not gzip",
        );
        check(r#"[{"file": "b"}]"#, "/b: larger than 4 bytes; raise `limits.body`");
    }

    #[test]
    fn the_first_error_ends_it() {
        let folder = folder(r#"[{"file": "c"}, {"file": "a"}]"#);
        let bodies: Vec<bool> = Recording::open(folder.path(), 9).unwrap().map(|body| body.is_ok()).collect();
        assert_eq!(bodies, [false]);
    }
}
