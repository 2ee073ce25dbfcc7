//! The lock of a pair: a file beside its database.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::StateError;

/// Given back when it is dropped.
#[derive(Debug)]
pub(super) enum Lock {
    File(File),
    #[cfg(feature = "testing")]
    #[expect(dead_code, reason = "what is held is of use by being held")]
    Memory(std::sync::Arc<()>),
}

impl Lock {
    /// Takes the lock of the pair whose file is `path` in `dir`, which is made if it is missing.
    pub(super) fn take(dir: &Path, path: &Path) -> Result<Self, StateError> {
        let io = |path: &Path, source| StateError::Io {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(dir).map_err(|source| io(dir, source))?;
        let path = path.with_extension("lock");
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|source| io(&path, source))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                lock.set_len(0).map_err(|source| io(&path, source))?;
                Ok(Self::File(lock))
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                // Whoever holds it sees that it is wanted. That is a courtesy: without it there is only a longer wait.
                if let Err(error) = lock.set_len(1) {
                    tracing::debug!(%error, ?path, "say that the lock is wanted");
                }
                Err(StateError::Locked(path))
            }
            Err(errno) => Err(io(&path, errno.into())),
        }
    }

    /// Whether somebody has tried to take it since it was taken.
    pub(super) fn is_wanted(&self) -> bool {
        match self {
            // Who cannot tell is polite.
            Self::File(lock) => lock.metadata().map_or(true, |found| found.len() > 0),
            #[cfg(feature = "testing")]
            Self::Memory(_) => true,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        match self {
            // Closing would not do: whoever looks at this process's open files at this moment (`lsof`), and a child that is being started,
            // still have the same open file. If it fails, the end of the process does it.
            Self::File(lock) => drop(flock(lock, FlockOperation::Unlock)),
            #[cfg(feature = "testing")]
            Self::Memory(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_given_back_though_somebody_has_the_same_open_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pair.db");
        let take = || Lock::take(dir.path(), &path);
        let lock = take().unwrap();
        let of_a_child = match &lock {
            Lock::File(file) => file.try_clone().unwrap(),
            #[cfg(feature = "testing")]
            Lock::Memory(_) => unreachable!(),
        };
        assert!(matches!(take(), Err(StateError::Locked(_))));
        assert!(lock.is_wanted());
        drop(lock);
        assert!(!take().unwrap().is_wanted());
        drop(of_a_child);
    }
}
