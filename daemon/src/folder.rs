//! Folders that a run makes before it starts.

use std::fs::{self, DirBuilder, File, FileTimes, Metadata};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use wl_core::sync::{SyncError, SyncErrorClass};

/// A target folder that was made for this run. Unless the run keeps it, it is taken away again when the run is refused, fails
/// as a whole, or was a dry run; only while it is empty.
#[derive(Debug)]
pub(crate) struct CreatedFolder {
    path: PathBuf,
    parent: PathBuf,
    parent_was: Metadata,
    kept: bool,
}

impl CreatedFolder {
    /// Makes `path` if nothing is there. The folder that holds it must be there.
    pub(crate) fn make(path: &Path) -> Result<Option<Self>, SyncError> {
        if path.symlink_metadata().is_ok() {
            return Ok(None);
        }
        let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
        let parent_was = parent.metadata().map_err(|error| {
            let hint = "make the folder above it, or correct the path";
            unavailable(format!("{}: {error}; {hint}", parent.display()))
        })?;
        match fs::create_dir(path) {
            Ok(()) => Ok(Some(Self {
                path: path.to_owned(),
                parent,
                parent_was,
                kept: false,
            })),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(unavailable(format!(
                "cannot make the target folder {}: {error}; make it by hand, or correct the path",
                path.display()
            ))),
        }
    }

    /// The run worked in it: it stays.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for CreatedFolder {
    fn drop(&mut self) {
        if self.kept || fs::remove_dir(&self.path).is_err() {
            return;
        }
        // Nothing was changed here after all. Best effort: a wrong time harms nobody.
        if let (Ok(parent), Ok(modified)) = (File::open(&self.parent), self.parent_was.modified()) {
            let _ = parent.set_times(FileTimes::new().set_modified(modified));
        }
    }
}

/// Where the state is, whether or not it is there yet.
pub(crate) fn state_path(base: &Path) -> PathBuf {
    base.join("state")
}

/// Makes `base` and `state` below it, private to the user.
pub(crate) fn state_dir(base: &Path) -> Result<PathBuf, SyncError> {
    let state = state_path(base);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&state)
        .map_err(|error| {
            SyncError::new(
                SyncErrorClass::State,
                format!(
                    "cannot make the state folder {}: {error}; give another base directory with --base-dir",
                    state.display()
                ),
            )
        })?;
    Ok(state)
}

fn unavailable(desc: String) -> SyncError {
    SyncError::new(SyncErrorClass::RootUnavailable, desc)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_is_not_kept_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let before = dir.path().metadata().unwrap().modified().unwrap();
        let path = dir.path().join("new");
        let made = CreatedFolder::make(&path).unwrap().unwrap();
        assert!(path.is_dir());
        drop(made);
        assert!(!path.exists());
        let after = dir.path().metadata().unwrap().modified().unwrap();
        assert_eq!(before, after);
    }

    #[test]
    fn a_folder_with_something_in_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let made = CreatedFolder::make(&path).unwrap().unwrap();
        fs::write(path.join("file"), "x").unwrap();
        drop(made);
        assert!(path.join("file").exists());
    }

    #[test]
    fn what_is_there_is_left_alone_and_a_missing_parent_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(CreatedFolder::make(dir.path()).unwrap().is_none());
        let error = CreatedFolder::make(&dir.path().join("no/such")).unwrap_err();
        assert_eq!(error.class, SyncErrorClass::RootUnavailable);
        assert!(error.desc.contains("make the folder above it"), "{error}");
    }

    #[test]
    fn state_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        state_dir(&base).unwrap();
        let mode = base.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
