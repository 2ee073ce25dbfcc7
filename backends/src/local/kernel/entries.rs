//! Reading a folder.

use std::ffi::CStr;
#[cfg(any(test, feature = "testing"))]
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{Dir, FileType, RawDir, RawDirEntry};
use rustix::io::Errno;

use super::super::sys::Sys;
use super::Fd;

/// The entries of an open folder, one read of the system after the other.
pub(in crate::local) enum Entries<'b> {
    /// Of this machine.
    Real(RawDir<'b, &'b OwnedFd>),
    /// Of the model file system.
    #[cfg(any(test, feature = "testing"))]
    Model(std::vec::IntoIter<Sys<(CString, FileType)>>),
}

/// An entry as a folder tells it.
pub(in crate::local) enum Entry<'b> {
    /// Of this machine.
    Real(RawDirEntry<'b>),
    /// Of the model file system.
    #[cfg(any(test, feature = "testing"))]
    Model(CString, FileType),
}

impl Entry<'_> {
    /// The name as the system gives it.
    pub(in crate::local) fn file_name(&self) -> &CStr {
        match self {
            Self::Real(entry) => entry.file_name(),
            #[cfg(any(test, feature = "testing"))]
            Self::Model(name, _) => name,
        }
    }

    /// What kind of entry it is, where the folder tells.
    pub(in crate::local) fn file_type(&self) -> FileType {
        match self {
            Self::Real(entry) => entry.file_type(),
            #[cfg(any(test, feature = "testing"))]
            Self::Model(_, kind) => *kind,
        }
    }
}

impl Entries<'_> {
    /// The next entry.
    pub(in crate::local) fn next(&mut self) -> Option<Sys<Entry<'_>>> {
        match self {
            Self::Real(raw) => Some(raw.next()?.map(Entry::Real)),
            #[cfg(any(test, feature = "testing"))]
            Self::Model(all) => Some(all.next()?.map(|(name, kind)| Entry::Model(name, kind))),
        }
    }
}

impl Fd {
    /// The entries of this folder, read into `buffer`.
    pub(in crate::local) fn entries<'b>(
        &'b self,
        buffer: &'b mut [MaybeUninit<u8>],
    ) -> Entries<'b> {
        match self {
            Self::Real(fd) => Entries::Real(RawDir::new(fd, buffer)),
            #[cfg(any(test, feature = "testing"))]
            Self::Model(open) => Entries::Model(open.entries().into_iter()),
        }
    }

    /// The names in this folder that are text, but for `.` and `..`, from the first on.
    pub(in crate::local) fn names(&self) -> Box<dyn Iterator<Item = Sys<String>> + '_> {
        match self {
            Self::Real(fd) => Box::new(real_names(fd)),
            #[cfg(any(test, feature = "testing"))]
            Self::Model(open) => Box::new(open.entries().into_iter().filter_map(|entry| {
                let name = entry.map(|(name, _)| name.into_string().ok());
                name.transpose()
                    .filter(|name| !matches!(name.as_deref(), Ok("." | "..")))
            })),
        }
    }
}

fn real_names(folder: &OwnedFd) -> impl Iterator<Item = Sys<String>> {
    let (dir, failed) = match Dir::read_from(folder) {
        Ok(dir) => (Some(dir), None),
        Err(errno) => (None, Some(Err::<String, Errno>(errno))),
    };
    let entries = dir.into_iter().flatten().filter_map(|entry| match entry {
        Ok(entry) => match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => None,
            Ok(name) => Some(Ok(name.to_owned())),
        },
        Err(errno) => Some(Err(errno)),
    });
    failed.into_iter().chain(entries)
}

/// A buffer for [`Fd::entries`].
pub(in crate::local) fn buffer(size: usize) -> Vec<MaybeUninit<u8>> {
    let mut buffer = Vec::new();
    buffer.resize_with(size, MaybeUninit::uninit);
    buffer
}
