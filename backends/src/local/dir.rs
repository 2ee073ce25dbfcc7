//! Reaching folders below the root, never through a link.

use std::rc::Rc;

use rustix::fs::{Mode as Bits, OFlags};
use rustix::io::Errno;
use wl_core::model::SyncPath;

use super::kernel::Fd;
use super::sys::Sys;

/// A folder as a place to work in; needs no permission to read it.
pub(super) const PATH: OFlags = OFlags::PATH;
/// A folder to be read or synced.
pub(super) const READ: OFlags = OFlags::RDONLY;

/// The system takes paths of less than 4,096 bytes; longer ones are walked in pieces.
const LONGEST: usize = 3_800;

/// Opens the folder at `path` below `root`. A link anywhere in it is an error (`LOOP` or `NOTDIR`), as is leaving `root`.
pub(super) fn open_folder(root: &Fd, path: &str, access: OFlags) -> Sys<Fd> {
    if path.is_empty() {
        return open_step(root, ".", access);
    }
    let mut rest = path;
    let mut at: Option<Fd> = None;
    while rest.len() > LONGEST {
        let cut = rest.as_bytes()[..LONGEST]
            .iter()
            .rposition(|&byte| byte == b'/')
            .ok_or(Errno::NAMETOOLONG)?;
        let from = at.as_ref().unwrap_or(root);
        at = Some(open_piece(from, &rest[..cut], PATH)?);
        rest = &rest[cut + 1..];
    }
    open_piece(at.as_ref().unwrap_or(root), rest, access)
}

fn open_piece(root: &Fd, path: &str, access: OFlags) -> Sys<Fd> {
    let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    match root.open_beneath(path, flags) {
        Err(Errno::NOSYS) => open_by_steps(root, path, access),
        other => other,
    }
}

/// The same for systems without `openat2`: one part after the other, none of them a link.
fn open_by_steps(root: &Fd, path: &str, access: OFlags) -> Sys<Fd> {
    let mut at: Option<Fd> = None;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let access = if parts.peek().is_some() { PATH } else { access };
        at = Some(open_step(at.as_ref().unwrap_or(root), part, access)?);
    }
    at.ok_or(Errno::NOENT)
}

/// Opens the folder `name` directly in `folder`.
pub(super) fn open_step(folder: &Fd, name: &str, access: OFlags) -> Sys<Fd> {
    let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    folder.open_at(name, flags, Bits::empty())
}

/// Whether an error says that the folder is not there (or is no folder), rather than that it could not be reached.
pub(super) fn is_missing(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

/// The folders used last, for one batch only: an open folder may be moved elsewhere later.
pub(super) struct Folders<'a> {
    root: &'a Fd,
    recent: Vec<(SyncPath, Rc<Fd>)>,
}

/// So many folders stay open.
const RECENT: usize = 8;

impl<'a> Folders<'a> {
    pub(super) fn new(root: &'a Fd) -> Self {
        Self {
            root,
            recent: Vec::with_capacity(RECENT),
        }
    }

    /// The open folder that holds `path`.
    pub(super) fn parent_of(&mut self, path: &SyncPath) -> Sys<Rc<Fd>> {
        let text = path.as_str();
        let parent = text.rfind('/').map_or("", |at| &text[..at]);
        if let Some(at) = self
            .recent
            .iter()
            .rposition(|(known, _)| known.as_str() == parent)
        {
            return Ok(Rc::clone(&self.recent[at].1));
        }
        let opened = Rc::new(open_folder(self.root, parent, PATH)?);
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        let key = path.parent().unwrap_or_else(SyncPath::root);
        self.recent.push((key, Rc::clone(&opened)));
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_openat2_a_link_is_refused_as_well() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(outside.path().join("x")).unwrap();
        std::fs::create_dir_all(inside.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink(outside.path(), inside.path().join("a/l")).unwrap();
        let root = Fd::open_root(inside.path()).unwrap();
        assert!(open_by_steps(&root, "a/b", READ).is_ok());
        assert!(is_missing(open_by_steps(&root, "a/l/x", READ).unwrap_err()));
        assert!(is_missing(open_folder(&root, "a/l/x", READ).unwrap_err()));
        assert!(is_missing(open_by_steps(&root, "a/l", READ).unwrap_err()));
    }
}
