//! Files that survive a crash of the process or the machine. Knows nothing of what is in them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Writes all of the file at `path` anew: beside the old one first, so that one of the two is always whole and on disk.
///
/// # Errors
/// The disk is full or gone; the old file is as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_through(&beside(path, ".new"), path, bytes)
}

/// As [`replace`], with the name of the file beside.
///
/// # Errors
/// The same.
pub fn replace_through(partial: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = write(partial, path, bytes).and_then(|()| fs::rename(partial, path));
    if written.is_err() {
        drop(fs::remove_file(partial));
        return written;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The rename itself; not every file system can do it, and the data is safe either way.
    drop(File::open(folder).and_then(|folder| folder.sync_all()));
    Ok(())
}

/// Moves a file that can't be used out of the way, so that nothing is written over it; gives where it is now.
#[must_use]
pub fn move_aside(path: &Path) -> PathBuf {
    let aside = beside(path, ".unreadable");
    if fs::rename(path, &aside).is_ok() { aside } else { path.to_owned() }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, ToOwned::to_owned);
    name.push(suffix);
    path.with_file_name(name)
}

/// Writes the file at `path` that is to take the place of `old`.
fn write(path: &Path, old: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    // Before anything is in it: what only some may read stays so.
    if let Ok(old) = fs::metadata(old) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(bytes)?;
    // Before the name: a machine that goes down leaves the old file or the new one.
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        replace(&path, b"first").unwrap();
        replace(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        // A folder stands where the new one would be written.
        fs::create_dir(folder.path().join("a.json.new")).unwrap();
        assert!(replace(&path, b"third").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert!(replace(&folder.path().join("none/a.json"), b"x").is_err());
    }

    #[test]
    fn what_is_moved_aside_is_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        fs::write(&path, "{").unwrap();
        let aside = move_aside(&path);
        assert_eq!((fs::read(&aside).unwrap(), path.exists()), (b"{".to_vec(), false));
        assert_eq!(aside, folder.path().join("a.json.unreadable"));
        assert_eq!(move_aside(&path), path, "there is none");
    }

    #[cfg(unix)]
    #[test]
    fn permissions_stay() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
