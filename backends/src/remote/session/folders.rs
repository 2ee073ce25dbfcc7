//! Folders and permission bits.

use wl_core::model::{Kind, Mode, SyncPath};
use wl_core::storage::{ErrorKind, Expected, Published, Result, StorageError};

use super::judge::Look;
use super::{Rounds, Shared};

impl Shared {
    pub(super) async fn make_folder(
        &self,
        path: &SyncPath,
        mode: Option<Mode>,
    ) -> Result<Published> {
        const WHAT: &str = "make folder";
        self.check(WHAT, path)?;
        if self.facts().flat {
            let reason = "the storage keeps no empty folders; folders come with their files";
            let error = StorageError::new(ErrorKind::Unsupported, WHAT, reason);
            return Err(self.named(error, path));
        }
        if path.is_root() {
            return Err(self.changed(WHAT, path, "the root is there"));
        }
        self.open().await?;
        self.check_above(WHAT, path).await?;
        let mode = mode.filter(|_| self.facts().modes);
        let mode = mode.map(|mode| Mode::new(mode.bits() | 0o700));
        let mut rounds = Rounds::default();
        let mut sent = false;
        loop {
            let turn = self.remote.wire.turn(0).await;
            let made = self.store().make_folder(path, mode).await;
            drop(turn);
            let fault = match made {
                Ok(found) => {
                    self.parents.remember(path);
                    return Ok(self.published(&found, true));
                }
                Err(fault) => fault,
            };
            // A folder is a folder: whose it is does not matter if our reply was lost.
            if sent && fault.error.kind() == ErrorKind::Changed {
                let found = self.remote.wire.stat(path).await?;
                if let Some(found) = found.filter(|found| found.kind == Kind::Folder) {
                    return Ok(self.published(&found, true));
                }
            }
            sent |= fault.unclear;
            let paused = rounds.pause(fault, &self.options.cancel).await;
            paused.map_err(|fault| self.error(WHAT, path, fault))?;
        }
    }

    pub(super) async fn set_mode(
        &self,
        path: &SyncPath,
        expected: &Expected,
        mode: Mode,
    ) -> Result<Published> {
        const WHAT: &str = "set mode";
        self.check(WHAT, path)?;
        if !self.facts().modes || expected.kind == Kind::Link {
            let reason = "the storage keeps no permission bits here";
            let error = StorageError::new(ErrorKind::Unsupported, WHAT, reason);
            return Err(self.named(error, path));
        }
        self.open().await?;
        match self.look(path, expected).await? {
            Look::Same(_) => {}
            Look::Other => return Err(self.changed(WHAT, path, "another version is there")),
            Look::Absent => {
                let error = StorageError::new(ErrorKind::NotFound, WHAT, "nothing is there");
                return Err(self.named(error, path));
            }
        }
        let set = || self.store().set_mode(path, mode);
        let found = self.repeat(WHAT, path, 0, set).await?;
        Ok(self.published(&found, true))
    }
}
