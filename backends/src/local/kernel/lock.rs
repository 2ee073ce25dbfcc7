//! Locks of files.

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::Fd;
use crate::local::sys::Sys;

/// The lock of a file; let go when this is dropped.
#[derive(Debug)]
pub(in crate::local) struct Locked(Fd);

impl Fd {
    /// Takes the lock of an open file; waits for it if told to (`WOULDBLOCK` otherwise).
    pub(in crate::local) fn lock(self, wait: bool) -> Sys<Locked> {
        let how = match wait {
            true => FlockOperation::LockExclusive,
            false => FlockOperation::NonBlockingLockExclusive,
        };
        loop {
            let taken = match &self {
                Self::Real(fd) => flock(fd, how),
                #[cfg(any(test, feature = "testing"))]
                Self::Model(open) => open.lock(wait),
            };
            match taken {
                Err(Errno::INTR) if wait => {}
                taken => return taken.map(|()| Locked(self)),
            }
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing would not do: whoever looks at this process's open files at this moment (`lsof`), and a child that is being started,
        // still have the same open file. If it fails, the end of the process does it. Nobody else has a handle of the model.
        #[cfg_attr(not(any(test, feature = "testing")), expect(irrefutable_let_patterns))]
        if let Fd::Real(fd) = &self.0 {
            let _ = flock(fd, FlockOperation::Unlock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_let_go_though_somebody_has_the_same_open_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let open = || std::fs::File::create(&path).unwrap();
        let first = open();
        let _of_a_child = first.try_clone().unwrap();
        let locked = Fd::Real(first.into()).lock(false).unwrap();
        let refused = Fd::Real(open().into()).lock(false).unwrap_err();
        assert_eq!(refused, Errno::WOULDBLOCK);
        drop(locked);
        Fd::Real(open().into()).lock(false).unwrap();
    }
}
