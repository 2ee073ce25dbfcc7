//! Renaming folders.

use rustix::io::Errno;
use wl_core::model::{FileId, Kind, SyncPath};
use wl_core::storage::{ErrorKind, Result, StrandedVersion};

use crate::local::dir::{Folders, is_missing};
use crate::local::reserved;
use crate::local::session::Session;
use crate::local::sys::{self, At};

const OP: &str = "rename";

impl Session {
    /// One rename, refused if something is at the new path, checked afterwards and taken back if another folder was moved.
    pub(in crate::local) fn rename_folder(
        &self,
        from: &SyncPath,
        id: FileId,
        to: &SyncPath,
    ) -> Result<()> {
        self.root.usable(OP, from)?;
        self.root.usable(OP, to)?;
        let stage = self.stage()?;
        let _lock = reserved::lock(&stage.wl)
            .map_err(|errno| sys::os_error(OP, errno).on(&self.root.location))?;
        if !stage.renames.no_replace {
            let reason =
                "the file system has no rename that refuses to replace; move what is in the folder";
            return Err(self.root.refuse(ErrorKind::Unsupported, OP, from, reason));
        }
        let mut folders = Folders::new(&self.root.fd);
        let parent = folders
            .parent_of(from)
            .map_err(|errno| match is_missing(errno) {
                true => self.gone(from),
                false => self.root.error(OP, from, errno),
            })?;
        let new_parent = folders
            .parent_of(to)
            .map_err(|errno| self.no_parent(OP, to, errno))?;
        let (at, target): (At<'_>, At<'_>) = ((&parent, from.name()), (&new_parent, to.name()));
        if !self.is_folder(at, id) {
            return Err(self.gone(from));
        }
        match stage.renames.move_new(at, target) {
            Ok(()) => {}
            Err(Errno::EXIST | Errno::NOTEMPTY) => {
                let reason = "something is at the new path; look again";
                return Err(self.root.refuse(ErrorKind::Changed, OP, to, reason));
            }
            Err(errno) if is_missing(errno) => return Err(self.gone(from)),
            Err(errno) => return Err(self.root.error(OP, from, errno)),
        }
        if !self.is_folder(target, id) {
            if let Err(errno) = stage.renames.move_new(target, at) {
                self.strand(StrandedVersion {
                    path: Some(from.clone()),
                    kept: format!("left at {to}"),
                    reason: format!(
                        "it replaced the folder {from} while that was renamed ({errno})"
                    ),
                });
            }
            return Err(self.gone(from));
        }
        self.dirty().folder_of(from);
        self.dirty().folder_of(to);
        self.flush_if_full()
    }

    fn is_folder(&self, at: At<'_>, id: FileId) -> bool {
        sys::stat_at(at.0, at.1)
            .is_ok_and(|stat| stat.kind() == Some(Kind::Folder) && stat.file_id() == Some(id))
    }

    fn gone(&self, from: &SyncPath) -> wl_core::storage::StorageError {
        let reason = "it is not the folder that was there any more; look again";
        self.root.refuse(ErrorKind::Changed, OP, from, reason)
    }
}
