//! The root: where it is, what is mounted there, what its file system can do.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Mode as Bits, OFlags};
use rustix::io::Errno;
use wl_core::model::SyncPath;
use wl_core::storage::{
    Capabilities, CasGrade, ErrorKind, ListOrder, MachineFolder, Result, RootMarker, StorageError,
};

use super::kernel::{Fd, Place, Runs};
use super::meta::Facts;
use super::sys::{self, Renames, Sys};

/// Where a storage is. The root is opened anew for every call, so that another file system mounted there is seen.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) place: Place,
    pub(super) location: String,
    pub(super) identity: String,
    /// The path that names it, where there is one: a link in it can be made to lead elsewhere.
    named: Option<PathBuf>,
    /// The folder that was found, where folders can be told apart: device, inode number and time of birth.
    folder: Option<Own>,
    /// What it is taken for until it was tried.
    presumed: Capabilities,
    /// What a try in our own folder showed.
    tried: OnceLock<Tried>,
    /// For tests: what the file system is made out to be unable to do.
    limit: Renames,
}

/// Device, inode number and time of birth.
type Own = (u64, u64, u64);

/// The outcome of a try.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) renames: Renames,
    capabilities: Capabilities,
}

/// The root, open.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) fd: Fd,
    pub(super) facts: Facts,
    pub(super) location: Box<str>,
    stat: sys::Stat,
}

/// File systems whose names fold case, whose times are coarse and which keep neither links nor modes.
const FAT: [i64; 3] = [0x4d44, 0x2011_bab0, 0x1bad_face];
/// File systems that are known to exchange names; believed until it was tried.
const EXCHANGES: [i64; 6] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0xf2f5_2010,
    0x794c_7630,
];

impl Spot {
    /// Resolves `location`. It has to be a folder that is there.
    pub(super) fn find(location: &str, limit: Renames) -> Result<Self> {
        let unavailable = |error| {
            StorageError::new(
                ErrorKind::Unavailable,
                "open",
                format!("{error}; make the folder, or mount what belongs there"),
            )
            .on(location)
        };
        let named = std::path::absolute(location).map_err(unavailable)?;
        let path = std::fs::canonicalize(&named).map_err(unavailable)?;
        let location = path.to_string_lossy().into_owned();
        let identity = format!("local:{}", exact_text(&path));
        let mut spot = Self::at(Place::Real(path), location, identity, limit)?;
        spot.named = Some(named);
        Ok(spot)
    }

    /// The storage at a place that is known to be a folder.
    pub(super) fn at(
        place: Place,
        location: String,
        identity: String,
        limit: Renames,
    ) -> Result<Self> {
        let root = open_root(&place, &location)?;
        let presumed = presume(&root.fd);
        let spot = Self {
            place,
            location,
            identity,
            named: None,
            folder: super::identity::is_told_apart(&root.fd).then(|| root.own()),
            presumed,
            tried: OnceLock::new(),
            limit,
        };
        if let Ok(Some(wl)) = super::reserved::open(&root)
            && spot.presumed.writable
        {
            // Where this fails the session that needs it tries again and says why.
            let _ = spot.try_out(&wl, "connect");
        }
        Ok(spot)
    }

    /// Opens the root; `Unavailable` if it is not there, or is another folder than the one that was connected: half of a run in one
    /// folder and half in another would take what differs for edits.
    pub(super) fn open(&self) -> Result<Root> {
        let root = open_root(&self.place, &self.location)?;
        if self.folder.is_some_and(|folder| folder != root.own()) {
            let reason = "another folder was put in its place meanwhile; put the right one back, then run again";
            return Err(
                StorageError::new(ErrorKind::Unavailable, "open", reason).on(&self.location)
            );
        }
        Ok(root)
    }

    /// Looks whether the path that names it still leads here.
    pub(super) fn check_way(&self) -> Result<()> {
        let (Some(named), Some(here)) = (&self.named, self.place.path()) else {
            return Ok(());
        };
        let (kind, reason) = match std::fs::canonicalize(named) {
            Ok(now) if now == here => return Ok(()),
            Ok(now) => (
                ErrorKind::Elsewhere,
                format!(
                    "`{}` leads to {} now (a symbolic link?); put back what was there, or, if this is meant, stop what runs and sync \
                     once with --accept-new-filesystem",
                    named.display(),
                    now.display()
                ),
            ),
            Err(error) => (
                ErrorKind::Unavailable,
                format!(
                    "`{}` leads nowhere now: {error}; put back what was there, or mount it",
                    named.display()
                ),
            ),
        };
        Err(StorageError::new(kind, "open", reason).on(&self.location))
    }

    /// What is behind the root now, whatever was connected, if that is where its name still leads.
    pub(super) fn marker(&self) -> Result<RootMarker> {
        let root = open_root(&self.place, &self.location)?;
        self.check_way()?;
        super::identity::marker(&root.fd, &root.stat)
            .map_err(|errno| sys::os_error("look at the root", errno).on(&self.location))
    }

    /// The root and the folders above it; nothing where the root is not there. What cannot be looked at above it is left out: nobody reaches the
    /// root through that.
    pub(super) fn lies_in(&self) -> Vec<MachineFolder> {
        let folder = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some(MachineFolder {
                device: found.dev(),
                inode: found.ino(),
            })
        };
        let Some(root) = self.place.path() else {
            return Vec::new();
        };
        let Some(own) = folder(root) else {
            return Vec::new();
        };
        let above = root.ancestors().skip(1).filter_map(folder);
        std::iter::once(own).chain(above).collect()
    }

    /// Where the work on it is done.
    pub(super) fn runs(&self) -> Runs {
        self.place.runs()
    }

    pub(super) fn capabilities(&self) -> &Capabilities {
        self.tried().unwrap_or(&self.presumed)
    }

    /// What a try showed, if there was one.
    pub(super) fn tried(&self) -> Option<&Capabilities> {
        self.tried.get().map(|tried| &tried.capabilities)
    }

    /// How renames can be done, for what happens outside a session.
    pub(super) fn renames(&self, root: &Root) -> Result<Renames> {
        match super::reserved::open(root)? {
            Some(wl) => Ok(self.try_out(&wl, "restore")?.renames),
            None => Ok(self.limit),
        }
    }

    /// What the file system can do, tried out in our own folder `wl` the first time.
    ///
    /// `renameat2` on names that are not there says `NOENT` even where the file system lacks the flag, so there is no
    /// way to find out without two files. A file system that was taken for more than it can do is refused once.
    pub(super) fn try_out(&self, wl: &Fd, run: &str) -> Result<&Tried> {
        if let Some(tried) = self.tried.get() {
            return Ok(tried);
        }
        let name = format!("probe-{run}-{}", wl.process());
        let mut capabilities = self.presumed.clone();
        let renames = probe(wl, &name, self.limit, &mut capabilities)
            .map_err(|errno| sys::os_error("probe", errno).on(&self.location))?;
        capabilities.cas = grade(renames);
        if capabilities.cas < self.presumed.cas && self.limit == Renames::ALL {
            let _ = self.tried.set(Tried {
                renames,
                capabilities,
            });
            return Err(StorageError::new(
                ErrorKind::Unsupported,
                "probe",
                "the file system turned out unable to exchange two names; run again to go on with the weaker check",
            )
            .on(&self.location));
        }
        Ok(self.tried.get_or_init(|| Tried {
            renames,
            capabilities,
        }))
    }
}

fn grade(renames: Renames) -> CasGrade {
    match renames.exchange {
        true => CasGrade::Recoverable,
        false => CasGrade::Checked,
    }
}

/// The path as text that no other path has.
fn exact_text(path: &Path) -> String {
    match path.to_str() {
        Some(text) => text.to_owned(),
        None => path
            .as_os_str()
            .as_encoded_bytes()
            .escape_ascii()
            .to_string(),
    }
}

fn open_root(place: &Place, location: &str) -> Result<Root> {
    let unavailable = |errno: Errno| {
        let text = std::io::Error::from(errno);
        let reason = match errno {
            Errno::NOTDIR => "it is no folder; name one".to_owned(),
            _ => format!("the folder cannot be opened: {text}; mount it or check its permissions"),
        };
        StorageError::new(ErrorKind::Unavailable, "open", reason).on(location)
    };
    let fd = place.open().map_err(unavailable)?;
    let stat = sys::stat_fd(&fd).map_err(unavailable)?;
    let coarse = fd.magic().is_ok_and(|magic| FAT.contains(&magic));
    Ok(Root {
        facts: Facts {
            dev: stat.dev,
            mount: stat.mount,
            coarse,
        },
        location: location.into(),
        stat,
        fd,
    })
}

impl Root {
    fn own(&self) -> Own {
        (self.stat.dev, self.stat.ino, self.stat.born)
    }

    /// A failed system call on `path`.
    pub(super) fn error(
        &self,
        operation: &'static str,
        path: &SyncPath,
        errno: Errno,
    ) -> StorageError {
        sys::os_error(operation, errno).at(path).on(&self.location)
    }

    /// A refusal of `path`.
    pub(super) fn refuse(
        &self,
        kind: ErrorKind,
        operation: &'static str,
        path: &SyncPath,
        reason: &str,
    ) -> StorageError {
        StorageError::new(kind, operation, reason)
            .at(path)
            .on(&self.location)
    }

    /// Refuses the root itself and the reserved name.
    pub(super) fn usable(&self, operation: &'static str, path: &SyncPath) -> Result<()> {
        let reason = if path.is_root() {
            "the root itself is no entry"
        } else if path.is_reserved() {
            "`.wl` is reserved for wl itself; give it another name"
        } else {
            return Ok(());
        };
        Err(self.refuse(ErrorKind::Unrepresentable, operation, path, reason))
    }
}

/// What names the file system of an open folder: its own id, or the device where it has none.
pub(super) fn file_system(folder: &Fd, dev: u64) -> Sys<String> {
    Ok(match folder.volume()?.id {
        0 => format!("dev-{dev:x}"),
        id => format!("fs-{id:x}"),
    })
}

/// What whoever is not root can still write to the file system of an open folder.
pub(super) fn free_space(folder: &Fd) -> Sys<u64> {
    Ok(folder.volume()?.free)
}

/// What a file system can do at best.
pub(super) fn at_best() -> Capabilities {
    Capabilities {
        cas: CasGrade::Recoverable,
        list_order: ListOrder::Key,
        listing_proves_absence: true,
        empty_folders: true,
        links: true,
        modes: true,
        mtime_resolution: Some(1),
        rename: true,
        trash: true,
        folds_case: false,
        stages: true,
        writable: true,
    }
}

fn presume(root: &Fd) -> Capabilities {
    let magic = root.magic().unwrap_or(0);
    let fat = FAT.contains(&magic);
    let writable = root.is_writable();
    Capabilities {
        cas: match EXCHANGES.contains(&magic) {
            true => CasGrade::Recoverable,
            false => CasGrade::Checked,
        },
        links: !fat,
        modes: !fat,
        mtime_resolution: Some(if fat { 2_000_000_000 } else { 1 }),
        folds_case: fat,
        writable,
        ..at_best()
    }
}

/// Tries renames, links and modes on scratch files in a folder of its own, which is gone afterwards.
fn probe(wl: &Fd, name: &str, limit: Renames, capabilities: &mut Capabilities) -> Sys<Renames> {
    match wl.make_dir_at(name, Bits::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let folder = super::dir::open_step(wl, name, super::dir::READ)?;
    let outcome = try_names(&folder, limit, capabilities);
    for scratch in ["a", "b", "c", "l"] {
        let _ = folder.unlink_at(scratch);
    }
    let _ = wl.remove_dir_at(name);
    outcome
}

fn try_names(folder: &Fd, limit: Renames, capabilities: &mut Capabilities) -> Sys<Renames> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW;
    let scratch = folder.open_at("a", flags, Bits::RUSR | Bits::WUSR)?;
    folder.open_at("b", flags, Bits::RUSR | Bits::WUSR)?;
    let first = sys::stat_at(folder, "a")?.ino;
    let exchange = limit.exchange
        && sys::exchange((folder, "a"), (folder, "b")).is_ok()
        && sys::stat_at(folder, "b")?.ino == first;
    let try_new = |to| Renames::ALL.move_new((folder, "b"), (folder, to));
    let no_replace = limit.no_replace && try_new("a") == Err(Errno::EXIST) && try_new("c").is_ok();
    capabilities.links &= folder.symlink_at("x", "l").is_ok();
    for bits in [0o600, 0o751] {
        let kept = scratch.set_bits(bits).is_ok() && sys::stat_fd(&scratch)?.mode & 0o777 == bits;
        capabilities.modes &= kept;
    }
    Ok(Renames {
        exchange,
        no_replace,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_gone_lies_in_nothing() {
        let dir = tempfile::TempDir::new().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let spot = Spot::find(root.to_str().unwrap(), Renames::ALL).unwrap();
        let above = std::fs::metadata(dir.path()).unwrap().ino();
        assert_eq!(spot.lies_in()[1].inode, above);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(spot.lies_in(), [], "and not in what is above it");
    }
}
