//! A file that a command writes: found to be writable before the work that it is for, and written whole or not at all.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::base::storage;

/// A file that can be written.
#[derive(Debug)]
pub(super) struct OutputFile {
    /// As the user named it, for messages.
    named: PathBuf,
    /// The file itself, where the name is a link's.
    path: PathBuf,
    /// Beside it, until all is written; of this process alone. `None` for what is no ordinary file, such as a pipe: it is written itself.
    partial: Option<PathBuf>,
}

impl OutputFile {
    /// Nothing is written yet, and what is there stays.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn new(named: &Path) -> anyhow::Result<Self> {
        Self::find(named).with_context(|| format!("cannot write {}", named.display()))
    }

    fn find(named: &Path) -> anyhow::Result<Self> {
        let (path, is_ordinary) = match fs::metadata(named) {
            Ok(about) => {
                ensure!(!about.is_dir(), "it is a folder: name a file in it");
                (fs::canonicalize(named)?, about.is_file())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => (named.to_owned(), true),
            Err(error) => return Err(error.into()),
        };
        let partial = if is_ordinary { Some(try_beside(&path)?) } else { None };
        Ok(Self { named: named.to_owned(), path, partial })
    }

    /// Writes all of it, or leaves what was there.
    ///
    /// # Errors
    /// It cannot be written any more.
    pub(super) fn write(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = match &self.partial {
            None => fs::write(&self.path, bytes),
            Some(partial) => storage::replace_through(partial, &self.path, bytes),
        };
        written.with_context(|| format!("cannot write {}", self.named.display()))
    }
}

/// Makes a file beside `path`, and removes it again; gives its name.
fn try_beside(path: &Path) -> anyhow::Result<PathBuf> {
    let mut name = path.file_name().context("it is no file's name")?.to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(name);
    File::create(&partial).and_then(|_| fs::remove_file(&partial))?;
    Ok(partial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_whole_where_a_link_points_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("real"), "old").unwrap();
        std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
        let (linked, fresh) = (OutputFile::new(&at("link")).unwrap(), OutputFile::new(&at("fresh")).unwrap());
        assert_eq!(fs::read(at("real")).unwrap(), b"old");
        linked.write(b"new").unwrap();
        fresh.write(b"first").unwrap();
        assert_eq!((fs::read(at("real")).unwrap(), fs::read(at("fresh")).unwrap()), (b"new".into(), b"first".into()));
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_device_is_written_and_not_replaced() {
        OutputFile::new(Path::new("/dev/null")).unwrap().write(b"gone").unwrap();
        let full = OutputFile::new(Path::new("/dev/full")).unwrap().write(b"x").unwrap_err();
        assert!(format!("{full:#}").starts_with("cannot write /dev/full: No space left"), "{full:#}");
    }

    #[test]
    fn what_cannot_be_written_is_told_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let check = |path: &Path, expected: &str| {
            let error = format!("{:#}", OutputFile::new(path).unwrap_err());
            assert!(error.starts_with(&format!("cannot write {}: ", path.display())), "{error}");
            assert!(error.contains(expected), "{error}");
        };
        check(folder.path(), "it is a folder");
        check(&folder.path().join("none/x"), "No such file or directory");
        check(&folder.path().join(".."), "it is a folder");
        fs::write(folder.path().join("file"), "").unwrap();
        check(&folder.path().join("file/x"), "Not a directory");
    }
}
